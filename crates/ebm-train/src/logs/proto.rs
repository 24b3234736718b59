//! The few protocol-buffer messages of a TensorBoard event file, encoded by hand.
//!
//! Field numbers are those of TensorFlow's `event.proto` and `summary.proto`. Fields with a zero value are
//! left out, as proto3 does.

/// A protocol-buffer message under construction.
#[derive(Default)]
pub struct Message(Vec<u8>);

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

impl Message {
    fn varint(&mut self, mut v: u64) {
        while v >= 0x80 {
            self.0.push(v as u8 | 0x80);
            v >>= 7;
        }
        self.0.push(v as u8);
    }

    fn key(&mut self, field: u64, wire: u64) {
        self.varint(field << 3 | wire);
    }

    /// An `int64`, `int32` or enum field.
    pub fn int(mut self, field: u64, v: u64) -> Self {
        if v != 0 {
            self.key(field, VARINT);
            self.varint(v);
        }
        self
    }

    /// A `double` field.
    pub fn double(mut self, field: u64, v: f64) -> Self {
        self.key(field, FIXED64);
        self.0.extend(v.to_le_bytes());
        self
    }

    /// A `float` field.
    pub fn float(mut self, field: u64, v: f32) -> Self {
        self.key(field, FIXED32);
        self.0.extend(v.to_le_bytes());
        self
    }

    /// A `bytes` or `string` field.
    pub fn bytes(mut self, field: u64, v: &[u8]) -> Self {
        self.key(field, BYTES);
        self.varint(v.len() as u64);
        self.0.extend(v);
        self
    }

    /// A packed `repeated double` field.
    pub fn doubles(self, field: u64, v: &[f64]) -> Self {
        let packed: Vec<u8> = v.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.bytes(field, &packed)
    }

    /// A message inside this one.
    pub fn message(self, field: u64, inner: Message) -> Self {
        self.bytes(field, &inner.0)
    }

    /// The encoded bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// An `Event` with its time and step, to be filled.
pub fn event(wall_time: f64, step: u64) -> Message {
    Message::default().double(1, wall_time).int(2, step)
}

/// The first record of a file: `Event.file_version`.
pub fn file_version(wall_time: f64) -> Message {
    event(wall_time, 0).bytes(3, b"brain.Event:2")
}

/// `Event.session_log` with status START: readers drop what they had from this step on.
pub fn session_start(wall_time: f64, step: u64) -> Message {
    event(wall_time, step).message(7, Message::default().int(1, 1))
}

/// `Summary.Value` with a number.
pub fn scalar(tag: &str, value: f64) -> Message {
    Message::default().bytes(1, tag.as_bytes()).float(2, value as f32)
}

/// `Summary.Value` with a PNG; `color_space` 1 is grey, 3 RGB, 4 RGBA.
pub fn image(tag: &str, width: u32, height: u32, color_space: u32, png: &[u8]) -> Message {
    let image = Message::default()
        .int(1, u64::from(height))
        .int(2, u64::from(width))
        .int(3, u64::from(color_space))
        .bytes(4, png);
    Message::default().bytes(1, tag.as_bytes()).message(4, image)
}

/// `Summary.Value` with a histogram of the finite values in `n_bins` equal bins.
pub fn histogram(tag: &str, values: &[f64], n_bins: usize) -> Message {
    let finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    let low = finite.iter().copied().fold(f64::INFINITY, f64::min);
    let high = finite.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (low, high) = if finite.is_empty() { (0.0, 0.0) } else { (low, high) };
    let width = if high > low { (high - low) / n_bins as f64 } else { 1.0 };
    let mut counts = vec![0.0; n_bins];
    for v in &finite {
        counts[(((v - low) / width) as usize).min(n_bins - 1)] += 1.0;
    }
    let limits: Vec<f64> = (1..=n_bins).map(|i| low + width * i as f64).collect();
    let histogram = Message::default()
        .double(1, low)
        .double(2, high)
        .double(3, finite.len() as f64)
        .double(4, finite.iter().sum())
        .double(5, finite.iter().map(|v| v * v).sum())
        .doubles(6, &limits)
        .doubles(7, &counts);
    Message::default().bytes(1, tag.as_bytes()).message(5, histogram)
}

/// `Event.summary` holding some values.
pub fn summary(wall_time: f64, step: u64, values: Vec<Message>) -> Message {
    let summary = values.into_iter().fold(Message::default(), |s, value| s.message(1, value));
    event(wall_time, step).message(5, summary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_and_keys_are_what_the_format_says() {
        assert_eq!(Message::default().int(2, 300).into_bytes(), [0x10, 0xAC, 0x02]);
        assert!(Message::default().int(2, 0).into_bytes().is_empty());
        assert_eq!(Message::default().bytes(1, b"ab").into_bytes(), [0x0A, 2, b'a', b'b']);
        assert_eq!(Message::default().float(2, 1.0).into_bytes(), [0x15, 0, 0, 0x80, 0x3F]);
    }

    #[test]
    fn a_histogram_takes_anything() {
        histogram("a", &[], 10);
        histogram("a", &[f64::NAN, f64::INFINITY], 10);
        histogram("a", &[1.0; 5], 10);
    }
}
