//! A folder of WAVE files: most are sound, and one of each kind breaks the parser in its own way.

use std::f64::consts::TAU;
use std::path::PathBuf;

fn chunk(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len()).expect("it is short");
    let mut chunk = [&kind[..], &size.to_le_bytes(), body].concat();
    chunk.resize(chunk.len().next_multiple_of(2), 0);
    chunk
}

/// `fmt ` of uncompressed sound.
fn format(tag: u16, channels: u16, rate: u32, bits: u16) -> Vec<u8> {
    let frame = channels * bits / 8;
    let mut body = Vec::new();
    body.extend(tag.to_le_bytes());
    body.extend(channels.to_le_bytes());
    body.extend(rate.to_le_bytes());
    body.extend((rate * u32::from(frame)).to_le_bytes());
    body.extend(frame.to_le_bytes());
    body.extend(bits.to_le_bytes());
    chunk(b"fmt ", &body)
}

fn sine(hertz: f64, rate: u32, frames: u32) -> Vec<u8> {
    let sample = |frame| (20_000.0 * (TAU * hertz * f64::from(frame) / f64::from(rate)).sin()) as i16;
    (0..frames).flat_map(|frame| sample(frame).to_le_bytes()).collect()
}

fn wave(chunks: &[Vec<u8>]) -> Vec<u8> {
    let body = [&b"WAVE"[..], &chunks.concat()].concat();
    chunk(b"RIFF", &body)
}

/// A chunk that says it is longer than it is.
fn lying(kind: &[u8; 4], size: u32, body: &[u8]) -> Vec<u8> {
    [&kind[..], &size.to_le_bytes(), body].concat()
}

/// Makes the folder, in the directory for temporary files.
pub(crate) fn make() -> std::io::Result<PathBuf> {
    let directory = std::env::temp_dir().join(format!("crashy-parser-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let mono = || format(1, 1, 44_100, 16);
    let samples = || chunk(b"data", &sine(440.0, 44_100, 4410));
    let mut files: Vec<(String, Vec<u8>)> = (0..60)
        .map(|index| {
            let (rate, hertz) = (8_000 * (1 + index % 6), 100.0 + 37.0 * f64::from(index));
            let sound = [format(1, 1, rate, 16), chunk(b"data", &sine(hertz, rate, rate / 4))];
            (format!("tone-{index:02}.wav"), wave(&sound))
        })
        .collect();
    let broken = [
        ("reads-past-its-end.wav", wave(&[mono(), lying(b"data", 0x0800_0000, b"short")])),
        ("wants-three-gigabytes.wav", wave(&[mono(), lying(b"data", 0xc000_0000, b"short")])),
        ("never-ends.wav", wave(&[mono(), chunk(b"JUNK", b""), samples()])),
        ("holds-itself.wav", wave(&[mono(), lying(b"LIST", 0xffff_ffff, b"INFO")])),
        ("has-no-channels.wav", wave(&[format(1, 0, 44_100, 16), samples()])),
        ("is-impossible.wav", wave(&[format(85, 1, 44_100, 16), samples()])),
        ("readme.txt", b"This is not a sound at all.".to_vec()),
        ("empty.wav", Vec::new()),
    ];
    files.extend(broken.map(|(name, content)| (name.to_owned(), content)));
    for (name, content) in files {
        std::fs::write(directory.join(name), content)?;
    }
    Ok(directory)
}
