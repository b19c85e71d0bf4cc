//! What goes in comes out; and what is forged costs an error, not more.

use std::collections::{BTreeMap, HashMap};
use std::mem::MaybeUninit;
use std::time::Duration;

use arbtest::arbitrary::Unstructured;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::*;
use crate::sys::random::{damaged, with_random_bytes};

fn to_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    let mut measure = Writer::new(&mut []);
    encode(value, &mut measure).unwrap();
    let mut bytes = vec![MaybeUninit::new(0); measure.len()];
    encode(value, &mut Writer::new(&mut bytes)).unwrap();
    // SAFETY: every byte was initialised when the vector was made.
    bytes.into_iter().map(|byte| unsafe { byte.assume_init() }).collect()
}

/// Decodes as the program decodes results.
fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    // SAFETY: the bytes are a slice that outlives the reader; only copies are made.
    decode(&mut unsafe { Reader::from_raw(bytes.as_ptr(), bytes.len()) }.untrusted())
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf,
    Node(Box<Tree>, Vec<Tree>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Chain(Option<Box<Chain>>);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    numbers: (u8, i16, u32, i64, u128, f32, f64),
    text: String,
    letter: char,
    flag: bool,
    list: Vec<Option<u16>>,
    map: BTreeMap<String, Vec<()>>,
    tree: Tree,
    nothing: (),
}

fn everything() -> Everything {
    Everything {
        numbers: (1, -2, 3, -4, 5, 6.5, -7.5),
        text: "ünï".to_owned(),
        letter: 'ß',
        flag: true,
        list: vec![None, Some(1), Some(u16::MAX)],
        map: BTreeMap::from([("a".to_owned(), vec![(); 3]), (String::new(), vec![])]),
        tree: Tree::Node(Box::new(Tree::Leaf), vec![Tree::Leaf, Tree::Node(Box::new(Tree::Leaf), vec![])]),
        nothing: (),
    }
}

#[test]
fn what_goes_in_comes_out() {
    assert_eq!(from_bytes::<Everything>(&to_bytes(&everything())).unwrap(), everything());
    let empties = vec![(); 100_000];
    assert_eq!(from_bytes::<Vec<()>>(&to_bytes(&empties)).unwrap().len(), empties.len());
}

#[test]
fn data_that_ends_early_is_an_error_wherever_it_ends() {
    let bytes = to_bytes(&everything());
    for len in 0..bytes.len() {
        assert!(from_bytes::<Everything>(&bytes[..len]).is_err(), "{len} of {} bytes", bytes.len());
    }
}

#[test]
fn random_changes_give_a_value_or_an_error() {
    let bytes = to_bytes(&everything());
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..1_000 {
        let mut forged = bytes.clone();
        for _ in 0..1 + random() % 8 {
            let at = random() as usize % forged.len();
            forged[at] = [random() as u8, 0, 255, 1][random() as usize % 4];
        }
        let _ = from_bytes::<Everything>(&forged);
        if round % 10 == 0 {
            let _ = from_bytes::<HashMap<(), Tree>>(&forged);
            let _ = from_bytes::<Vec<Vec<()>>>(&forged);
        }
    }
}

/// A frame around forged bytes.
fn framed(value: &[u8]) -> Vec<u8> {
    let mut bytes = (value.len() as u64).to_le_bytes().to_vec();
    bytes.extend(value);
    bytes
}

/// A sequence that says that it has so many elements, and has none.
fn empty_sequence_of(count: u64) -> Vec<u8> {
    let mut bytes = vec![kind::SEQ, 0];
    bytes.extend(count.to_le_bytes());
    framed(&bytes)
}

#[test]
fn a_number_of_elements_beyond_the_data_allocates_nothing() {
    let endless = empty_sequence_of(u64::MAX);
    assert!(from_bytes::<Vec<()>>(&endless).is_err());
    assert!(from_bytes::<Vec<u64>>(&endless).is_err());
    assert!(from_bytes::<Vec<[u64; 32]>>(&endless).is_err());
    for kind in [kind::STR, kind::BYTES, kind::MAP] {
        let mut bytes = vec![kind];
        bytes.extend((1_u64 << 62).to_le_bytes());
        assert!(from_bytes::<String>(&framed(&bytes)).is_err());
        assert!(from_bytes::<Vec<u8>>(&framed(&bytes)).is_err());
        assert!(from_bytes::<HashMap<(), ()>>(&framed(&bytes)).is_err());
    }
}

#[test]
fn small_data_cannot_become_large_values() {
    // Two bytes each become 512.
    let count = 4 << 20;
    let mut bytes = vec![kind::SEQ, 0];
    bytes.extend((count as u64).to_le_bytes());
    bytes.extend(std::iter::repeat_n(kind::NONE, count));
    let bytes = framed(&bytes);
    let error = from_bytes::<Vec<Option<[u64; 32]>>>(&bytes).unwrap_err();
    assert!(error.to_string().contains("result_limit"), "{error}");
    assert_eq!(from_bytes::<Vec<Option<u8>>>(&bytes).unwrap().len(), count);
}

/// A chain that is written so deep.
fn chain(depth: usize) -> Chain {
    (0..depth).fold(Chain(None), |chain, _| Chain(Some(Box::new(chain))))
}

fn depth(chain: &Chain) -> usize {
    let mut depth = 0;
    let mut rest = &chain.0;
    while let Some(next) = rest {
        (depth, rest) = (depth + 1, &next.0);
    }
    depth
}

impl Drop for Chain {
    fn drop(&mut self) {
        let mut rest = self.0.take();
        while let Some(mut next) = rest {
            rest = next.0.take();
        }
    }
}

#[test]
fn nesting_beyond_the_stack_is_an_error_on_both_sides_and_on_small_stacks_too() {
    fn check(fits: usize) {
        let forged = framed(&vec![kind::SOME; 10 << 20]);
        let error = from_bytes::<Chain>(&forged).unwrap_err();
        assert!(error.to_string().contains("nested too deeply"), "{error}");
        let error = encode(&chain(1 << 20), &mut Writer::new(&mut [])).unwrap_err();
        assert!(error.to_string().contains("nested too deeply"), "{error}");
        let deep = chain(fits);
        assert!(from_bytes::<Chain>(&to_bytes(&deep)).is_ok_and(|back| depth(&back) == fits));
    }
    let spawn = |stack: usize, fits| std::thread::Builder::new().stack_size(stack).spawn(move || check(fits)).unwrap();
    for (stack, fits) in [(128 << 10, 10), (2 << 20, 1000), (64 << 20, 20_000)] {
        spawn(stack, fits).join().unwrap();
    }
}

/// Values of every kind from random bytes.
fn some_value(random: &mut Unstructured<'_>) -> arbtest::arbitrary::Result<Everything> {
    fn tree(random: &mut Unstructured<'_>, depth: u32) -> arbtest::arbitrary::Result<Tree> {
        if depth == 0 || random.ratio(1, 2)? {
            return Ok(Tree::Leaf);
        }
        let count = random.int_in_range(0..=3)?;
        let children = (0..count).map(|_| tree(random, depth - 1)).collect::<Result<_, _>>()?;
        Ok(Tree::Node(Box::new(tree(random, depth - 1)?), children))
    }
    let numbers: (u8, i16, u32, i64, u128) = random.arbitrary()?;
    Ok(Everything {
        // Numbers, so that they are equal to themselves.
        numbers: (numbers.0, numbers.1, numbers.2, numbers.3, numbers.4, f32::from(numbers.1), f64::from(numbers.2)),
        text: random.arbitrary()?,
        letter: random.arbitrary()?,
        flag: random.arbitrary()?,
        list: random.arbitrary()?,
        map: random.arbitrary()?,
        tree: tree(random, 4)?,
        nothing: (),
    })
}

#[test]
fn any_value_comes_out_as_it_went_in() {
    with_random_bytes(|random| {
        let value = some_value(random)?;
        assert_eq!(from_bytes::<Everything>(&to_bytes(&value)).unwrap(), value);
        Ok(())
    });
}

#[test]
fn any_bytes_are_a_value_or_an_error() {
    with_random_bytes(|random| {
        let bytes = if random.arbitrary()? {
            random.arbitrary()?
        } else {
            let value = to_bytes(&some_value(random)?);
            damaged(random, value)?
        };
        let _ = from_bytes::<Everything>(&bytes);
        let _ = from_bytes::<Vec<Vec<u64>>>(&bytes);
        let _ = from_bytes::<HashMap<String, Option<Chain>>>(&bytes);
        let _ = from_bytes::<(char, bool, Duration, Box<[u16]>)>(&bytes);
        Ok(())
    });
}

#[test]
fn a_writer_counts_past_its_end() {
    let mut buffer = [MaybeUninit::new(0); 3];
    let mut writer = Writer::new(&mut buffer);
    writer.put([1, 2]);
    writer.put([3, 4]);
    writer.put_slice(&[]);
    writer.put_slice(&[5]);
    writer.patch(2, [9, 9]);
    assert!(writer.overflowed() && writer.len() == 5);
    writer.rewind(2);
    writer.put([6]);
    assert!(!writer.overflowed());
    drop(writer);
    // SAFETY: all were initialised.
    assert_eq!(buffer.map(|byte| unsafe { byte.assume_init() }), [1, 2, 6]);
}

#[test]
fn a_reader_never_leaves_its_bytes() {
    with_random_bytes(|random| {
        let bytes: Vec<u8> = random.arbitrary()?;
        // SAFETY: the bytes are a slice that outlives the reader; only copies are made.
        let mut reader = unsafe { Reader::from_raw(bytes.as_ptr(), bytes.len()) }.untrusted();
        while !random.is_empty() {
            let before = reader.left();
            let count: usize = random.arbitrary()?;
            let fine = match random.int_in_range(0..=5)? {
                0 => reader.take::<7>().is_ok(),
                1 => reader.take_len(random.int_in_range(0..=9)?).is_ok(),
                2 => reader.take_plain::<u32>(count).is_ok(),
                3 => reader.align(1 << random.int_in_range(0..=6)?).is_ok(),
                4 => reader.skip(count).is_ok(),
                _ => reader.take_plain::<u8>(count % 16).is_ok(),
            };
            assert!(reader.left() <= before && reader.left() <= bytes.len(), "{fine}");
            assert_eq!(reader.left() + reader.offset(), bytes.len());
        }
        Ok(())
    });
}
