//! Pictures of the task: sheets of scenes with the paths as PNG, films as GIF. A palette of nine colours, no text.

use ebm_core::{Error, Result};

use super::geometry::Vec2;
use super::rollout::Episode;
use super::world::{AGENT_RADIUS, DISC_RADIUS, SLOT_HALF_WIDTH, SLOT_X, State, World};

/// Red, green and blue of each colour, in the order of [`Ink`].
const PALETTE: [u8; 27] = [
    250, 250, 248, // ground
    60, 64, 72, // wall
    214, 236, 214, // slot
    158, 190, 226, // path of the agent
    238, 190, 132, // path of the disc
    31, 90, 166, // agent
    222, 120, 20, // disc
    200, 40, 40, // failed, shoved
    40, 140, 70, // solved
];

#[derive(Clone, Copy)]
#[repr(u8)]
enum Ink {
    Ground,
    Wall,
    Slot,
    AgentPath,
    DiscPath,
    Agent,
    Disc,
    Bad,
    Good,
}

/// Frames are shown for this long, in hundredths of a second: as fast as the task runs.
const FRAME_DELAY: u16 = 10;
/// Pixels between scenes.
const GUTTER: usize = 4;

/// One scene to draw: states in the order of time.
#[derive(Clone, Debug)]
pub struct Scene {
    states: Vec<State>,
    shoved_at: Option<usize>,
    solved: bool,
}

impl Scene {
    /// A path whose end is known.
    pub fn new(states: Vec<State>, solved: bool) -> Self {
        Self { states, shoved_at: None, solved }
    }
}

impl From<&Episode> for Scene {
    fn from(e: &Episode) -> Self {
        Self { states: e.states.clone(), shoved_at: e.shoved_at, solved: e.solved }
    }
}

/// Pixels as numbers of colours.
struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

/// A square part of a canvas that shows `[-1, 1]^2`, y upwards.
struct View {
    left: usize,
    top: usize,
    side: usize,
}

impl View {
    fn pixel(&self, p: Vec2) -> [f64; 2] {
        let half = 0.5 * self.side as f64;
        [self.left as f64 + half * (1.0 + p[0]), self.top as f64 + half * (1.0 - p[1])]
    }

    fn length(&self, l: f64) -> f64 {
        0.5 * self.side as f64 * l
    }
}

impl Canvas {
    fn new(width: usize, height: usize) -> Self {
        Self { width, height, pixels: vec![Ink::Wall as u8; width * height] }
    }

    /// Colour the pixels of a view whose centre satisfies `inside`, within the rows and columns given.
    fn fill(
        &mut self,
        view: &View,
        low: [f64; 2],
        high: [f64; 2],
        ink: Ink,
        inside: impl Fn(f64, f64) -> bool,
    ) {
        let clip = |v: f64, from: usize| (v.max(from as f64) as usize).min(from + view.side);
        for y in clip(low[1].floor(), view.top)..clip(high[1].ceil(), view.top) {
            for x in clip(low[0].floor(), view.left)..clip(high[0].ceil(), view.left) {
                if inside(x as f64 + 0.5, y as f64 + 0.5) {
                    self.pixels[y * self.width + x] = ink as u8;
                }
            }
        }
    }

    fn rect(&mut self, view: &View, low: Vec2, high: Vec2, ink: Ink) {
        let (a, b) = (view.pixel([low[0], high[1]]), view.pixel([high[0], low[1]]));
        self.fill(view, a, b, ink, |x, y| x >= a[0] && x < b[0] && y >= a[1] && y < b[1]);
    }

    /// A disc, or a ring where `width` is less than the radius; both in pixels.
    fn ring(&mut self, view: &View, centre: Vec2, radius: f64, width: f64, ink: Ink) {
        let c = view.pixel(centre);
        let (low, high) = (c.map(|v| v - radius - 1.0), c.map(|v| v + radius + 1.0));
        self.fill(view, low, high, ink, |x, y| {
            let r = (x - c[0]).hypot(y - c[1]);
            r <= radius && r >= radius - width
        });
    }

    fn path(&mut self, view: &View, points: impl Iterator<Item = Vec2>, ink: Ink) {
        let mut last: Option<Vec2> = None;
        for p in points {
            let from = last.replace(p).unwrap_or(p);
            let n = view.length((p[0] - from[0]).hypot(p[1] - from[1])).ceil().max(1.0);
            for i in 0..n as usize {
                let t = i as f64 / n;
                let between = [from[0] + t * (p[0] - from[0]), from[1] + t * (p[1] - from[1])];
                self.ring(view, between, 1.0, 1.0, ink);
            }
        }
    }

    /// The scene as it is at state number `now`.
    fn scene(&mut self, view: &View, world: &World, scene: &Scene, now: usize) {
        let Some(last) = scene.states.len().checked_sub(1) else { return };
        let now = now.min(last);
        self.rect(view, [-1.0, -1.0], [1.0, 1.0], Ink::Ground);
        self.rect(view, [SLOT_X, -SLOT_HALF_WIDTH], [1.0, SLOT_HALF_WIDTH], Ink::Slot);
        for wall in world.boxes() {
            self.rect(view, wall.low, wall.high, Ink::Wall);
        }
        let past = &scene.states[..=now];
        self.path(view, past.iter().map(|s| s.agent), Ink::AgentPath);
        self.path(view, past.iter().map(|s| s.disc), Ink::DiscPath);
        let state = &scene.states[now];
        let disc = view.length(DISC_RADIUS);
        self.ring(view, state.disc, disc, disc, Ink::Disc);
        let agent = view.length(AGENT_RADIUS);
        self.ring(view, state.agent, agent, agent, Ink::Agent);
        if let Some(at) = scene.shoved_at.filter(|at| *at < now) {
            self.ring(view, scene.states[at + 1].disc, disc, 2.0, Ink::Bad);
        }
        if now == last {
            self.ring(view, state.disc, disc, 3.0, if scene.solved { Ink::Good } else { Ink::Bad });
        }
    }
}

/// The scenes side by side at time `now`, `columns` in a row, each `side` pixels wide.
fn sheet(world: &World, scenes: &[Scene], columns: usize, side: usize, now: usize) -> Result<Canvas> {
    if scenes.is_empty() || columns == 0 || !(16..=1024).contains(&side) {
        let found = format!("{} scenes, {columns} columns, side {side}", scenes.len());
        return Err(Error::bad_value("sheet of scenes", found, "at least one of each, side 16 to 1024", ""));
    }
    let columns = columns.min(scenes.len());
    let place = |i: usize| GUTTER + i * (side + GUTTER);
    let (width, height) = (place(columns), place(scenes.len().div_ceil(columns)));
    if width.max(height) > 16_384 {
        let found = format!("{width} x {height}");
        return Err(Error::bad_value("sheet of scenes", found, "at most 16384 pixels a side", "draw fewer"));
    }
    let mut canvas = Canvas::new(width, height);
    for (i, scene) in scenes.iter().enumerate() {
        let view = View { left: place(i % columns), top: place(i / columns), side };
        canvas.scene(&view, world, scene, now);
    }
    Ok(canvas)
}

/// The scenes with their whole paths as the bytes of a PNG file.
///
/// # Errors
/// No scenes, or a sheet too large.
pub fn png(world: &World, scenes: &[Scene], columns: usize, side: usize) -> Result<Vec<u8>> {
    let canvas = sheet(world, scenes, columns, side, usize::MAX)?;
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, canvas.width as u32, canvas.height as u32);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(&PALETTE[..]);
    let mut writer = encoder.write_header().map_err(Error::user)?;
    writer.write_image_data(&canvas.pixels).map_err(Error::user)?;
    writer.finish().map_err(Error::user)?;
    Ok(bytes)
}

/// The scenes as they happen, as the bytes of an endless GIF film. It stands still for two seconds at the end.
///
/// # Errors
/// No scenes, or a sheet too large.
pub fn gif(world: &World, scenes: &[Scene], columns: usize, side: usize) -> Result<Vec<u8>> {
    let n_frames = scenes.iter().map(|s| s.states.len()).max().unwrap_or(0).max(1);
    let size = sheet(world, scenes, columns, side, 0)?;
    let side_of = |n: usize| u16::try_from(n).map_err(Error::user);
    let (width, height) = (side_of(size.width)?, side_of(size.height)?);
    let mut bytes = Vec::new();
    let mut encoder = gif::Encoder::new(&mut bytes, width, height, &PALETTE).map_err(Error::user)?;
    encoder.set_repeat(gif::Repeat::Infinite).map_err(Error::user)?;
    for now in 0..n_frames {
        let canvas = sheet(world, scenes, columns, side, now)?;
        let mut frame = gif::Frame::from_indexed_pixels(width, height, canvas.pixels, None);
        frame.delay = if now + 1 == n_frames { 200 } else { FRAME_DELAY };
        encoder.write_frame(&frame).map_err(Error::user)?;
    }
    drop(encoder);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::world::Variant;
    use super::*;

    fn scenes() -> (World, Vec<Scene>) {
        let state = |x: f64| State { agent: [x - 0.5, 0.0], velocity: [0.0; 2], disc: [x, 0.5] };
        let states: Vec<State> = (0..5).map(|i| state(-0.5 + 0.1 * f64::from(i))).collect();
        let shoved = Scene { states: states.clone(), shoved_at: Some(1), solved: false };
        (World::new(Variant::TwoGaps), vec![Scene::new(states, true), shoved])
    }

    #[test]
    fn a_png_shows_each_thing_in_its_place_and_colour() {
        let (world, scenes) = scenes();
        let bytes = png(&world, &scenes, 2, 100).unwrap();
        let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
        decoder.set_transformations(png::Transformations::IDENTITY);
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (4 + 2 * 104, 4 + 104));
        let at = |scene: usize, p: Vec2| {
            let c = View { left: 4 + 104 * scene, top: 4, side: 100 }.pixel(p);
            pixels[c[1] as usize * info.width as usize + c[0] as usize]
        };
        for scene in 0..2 {
            assert_eq!(at(scene, [-0.1, 0.5]), Ink::Disc as u8);
            assert_eq!(at(scene, [-0.6, 0.0]), Ink::Agent as u8);
            assert_eq!(at(scene, [-0.9, 0.0]), Ink::AgentPath as u8);
            assert_eq!(at(scene, [0.2, 0.0]), Ink::Wall as u8);
            assert_eq!(at(scene, [0.9, 0.0]), Ink::Slot as u8);
            assert_eq!(at(scene, [0.2, 0.35]), Ink::Ground as u8);
        }
        assert_eq!(at(0, [-0.4, 0.5]), Ink::DiscPath as u8);
        let count = |ink: Ink| pixels.iter().filter(|p| **p == ink as u8).count();
        assert!(count(Ink::Good) > 0 && count(Ink::Bad) > 0);
    }

    #[test]
    fn a_gif_has_a_frame_for_each_state() {
        let (world, scenes) = scenes();
        let bytes = gif(&world, &scenes, 1, 64).unwrap();
        let mut decoder = gif::DecodeOptions::new().read_info(&bytes[..]).unwrap();
        let mut delays = Vec::new();
        while let Some(frame) = decoder.read_next_frame().unwrap() {
            assert_eq!((frame.width, frame.height), (72, 4 + 2 * 68));
            delays.push(frame.delay);
        }
        assert_eq!(delays, [10, 10, 10, 10, 200]);
        assert!(gif(&world, &[], 1, 64).is_err());
        assert!(png(&world, &scenes, 1, 4).unwrap_err().to_string().contains("side 4"));
    }
}
