//! Several pictures in one SVG: a title, a note, a legend and panels.

use std::fmt::Write;

use super::canvas::RGBColor;

const HEAD: u32 = 12;

/// A page of panels.
#[derive(Clone, Debug, Default)]
pub(super) struct Figure {
    pub title: String,
    /// Small lines below the title; empty ones are left out.
    pub notes: Vec<String>,
    pub legend: Vec<(String, RGBColor)>,
    /// Left edge, upper edge and SVG text of each panel, below the head.
    panels: Vec<(u32, u32, String)>,
    /// Shown size without the head.
    size: (u32, u32),
}

impl Figure {
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    /// Put a panel of this size somewhere.
    pub fn panel(&mut self, (left, top): (u32, u32), (width, height): (u32, u32), svg: String) {
        self.panels.push((left, top, svg));
        self.size = (self.size.0.max(left + width), self.size.1.max(top + height));
    }

    pub fn svg(&self) -> String {
        let mut head = String::new();
        // Small letters are about 6 pixels wide, and a legend needs some room.
        let longest = self.notes.iter().map(|note| note.chars().count() as u32).max().unwrap_or(0);
        let width = self.size.0.max(2 * HEAD + 6 * longest).max(320);
        let mut y = HEAD + 12;
        let line = |head: &mut String, x: u32, y: u32, size: u32, weight: &str, text: &str| {
            // Writing into a String cannot fail.
            let _ = writeln!(
                head,
                "<text x=\"{x}\" y=\"{y}\" font-family=\"sans-serif\" font-size=\"{size}\" \
                 font-weight=\"{weight}\" fill=\"#4b525c\">{}</text>",
                escape(text)
            );
        };
        line(&mut head, HEAD, y, 15, "bold", &self.title);
        for note in self.notes.iter().filter(|note| !note.is_empty()) {
            y += 18;
            line(&mut head, HEAD, y, 12, "normal", note);
        }
        let mut left = width;
        for (name, RGBColor(r, g, b)) in &self.legend {
            let needed = 40 + 6 * name.chars().count() as u32;
            if left + needed > width {
                left = HEAD;
                y += 18;
            }
            let _ = writeln!(
                head,
                "<rect x=\"{left}\" y=\"{}\" width=\"14\" height=\"8\" fill=\"#{r:02x}{g:02x}{b:02x}\"/>",
                y - 8
            );
            line(&mut head, left + 19, y, 12, "normal", name);
            left += needed;
        }
        y += 10;
        let height = y + self.size.1 + 6;
        let mut svg = format!(
            "<svg width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             xmlns=\"http://www.w3.org/2000/svg\">\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n{head}"
        );
        for (left, top, panel) in &self.panels {
            let place = format!("<svg x=\"{left}\" y=\"{}\" ", y + top);
            svg += &panel.replacen("<svg ", &place, 1);
        }
        svg + "</svg>\n"
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A name of at most `most` letters, the middle left out if it is longer.
pub(super) fn shorten(name: &str, most: usize) -> String {
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= most {
        return name.to_owned();
    }
    let tail = (most - 1) / 2;
    let head = most - 1 - tail;
    letters[..head].iter().chain(&['…']).chain(&letters[letters.len() - tail..]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_lose_their_middle() {
        assert_eq!(shorten("short", 5), "short");
        assert_eq!(shorten("a_very_long_name[12]", 9), "a_ve…[12]");
        assert_eq!(shorten("äöüß", 3), "ä…ß");
    }

    #[test]
    fn panels_stand_below_the_head() {
        let mut figure = Figure::new("a < b");
        figure.panel((10, 20), (100, 50), "<svg width=\"100\"></svg>".into());
        let svg = figure.svg();
        assert!(svg.contains("a &lt; b") && svg.contains("<svg x=\"10\" y=\"54\" width=\"100\">"), "{svg}");
        assert!(svg.contains("width=\"320\" height=\"110\""), "{svg}");
    }
}
