//! What crosses a process border, and what is refused there, type by type.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::net::IpAddr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use parallel_runtime::{RemoteError, TaskError, parallel};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

#[parallel(mode = "process", pool = 2)]
fn echo<T: Serialize + DeserializeOwned + Send + 'static>(value: T) -> T {
    value
}

/// Bytes by serde's own calls for them.
#[derive(Debug, Clone, PartialEq)]
struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Bytes;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Unit;
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct New(u8);
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Pair(u8, String);
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Unit,
    New(f64),
    Tuple(u8, Unit),
    Struct { side: New, pair: Pair },
}

#[test]
fn every_shape_of_data_arrives_as_it_was() {
    let pair = Pair(7, "seven".to_owned());
    assert_eq!(echo(Unit), Unit);
    assert_eq!(echo(pair.clone()), pair);
    let shapes =
        [Shape::Unit, Shape::New(0.5), Shape::Tuple(1, Unit), Shape::Struct { side: New(2), pair: pair.clone() }];
    assert_eq!(echo::map(shapes.clone()), shapes);
    assert_eq!(echo(Bytes(vec![0, 255, 3])), Bytes(vec![0, 255, 3]));
    assert_eq!(echo(((1_u8, 'ß'), [Some(pair), None], BTreeSet::from([i128::MIN]))).2.pop_first(), Some(i128::MIN));
}

#[test]
fn types_of_the_standard_library_arrive_as_they_were() {
    let addresses: [IpAddr; 2] = ["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
    assert_eq!(echo(addresses), addresses);
    assert_eq!(echo(Duration::new(5, 7)), Duration::new(5, 7));
    assert_eq!(echo(PathBuf::from("/a/ü")), Path::new("/a/ü"));
    assert_eq!(echo(CString::from(c"text")).as_c_str(), c"text");
    assert_eq!(echo::<Result<u8, String>>(Err("no".to_owned())), Err("no".to_owned()));
}

#[parallel(mode = "process", pool = 2)]
fn lengths(text: &CStr, name: &OsStr, path: &Path) -> [usize; 3] {
    [text.to_bytes().len(), name.len(), path.components().count()]
}

#[test]
fn borrowed_names_arrive_although_they_are_no_utf8() {
    let name: &OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff\xfe");
    assert_eq!(lengths(c"\xffabc", name, Path::new("/a/b")), [4, 2, 3]);
}

/// A name that no text has.
fn odd(last: u8) -> PathBuf {
    PathBuf::from(OsString::from_vec(vec![b'a', 0xff, last]))
}

#[parallel(mode = "process", pool = 2)]
fn paths(
    one: PathBuf,
    many: Vec<PathBuf>,
    maybe: Option<PathBuf>,
    lent: &[PathBuf],
    changed: &mut [PathBuf],
) -> Vec<PathBuf> {
    changed[0].push("b");
    let mut all = vec![one];
    all.extend(many);
    all.extend(maybe);
    all.extend_from_slice(lent);
    all
}

#[allow(clippy::ptr_arg)]
#[parallel(mode = "process", pool = 2)]
fn behind(path: &PathBuf, changed: &mut PathBuf, many: &Vec<PathBuf>) -> PathBuf {
    changed.push("c");
    assert_eq!(many[0], odd(9));
    path.clone()
}

#[parallel(mode = "process", pool = 2)]
fn extended(name: OsString, c: CString) -> (Option<u8>, u64) {
    (name.as_bytes().last().copied(), c.as_bytes().len() as u64)
}

#[parallel(mode = "process", pool = 2)]
fn path_of(last: u8) -> PathBuf {
    odd(last)
}

#[parallel(mode = "process", pool = 2)]
fn named(names: Names) -> Names {
    names
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Names {
    name: OsString,
    path: PathBuf,
}

#[test]
fn paths_that_are_no_utf8_arrive_by_value_in_slices_and_as_results() {
    let mut changed = [odd(6), odd(7)];
    let arrived = paths(odd(1), vec![odd(2), odd(3)], Some(odd(4)), &[odd(5)], &mut changed);
    assert_eq!(arrived, (1..=5).map(odd).collect::<Vec<_>>());
    assert_eq!(changed, [odd(6).join("b"), odd(7)]);
    assert_eq!(path_of::map(0..3), [odd(0), odd(1), odd(2)]);
    let mut path = odd(8);
    assert_eq!(behind(&odd(7), &mut path, &vec![odd(9)]), odd(7));
    assert_eq!(path, odd(8).join("c"));
    assert_eq!(extended(odd(9).into_os_string(), c"\xffab".to_owned()), (Some(9), 3));
}

#[test]
fn a_path_that_is_no_utf8_inside_a_value_is_refused_by_the_name_of_its_field_and_an_os_string_is_not() {
    let names = Names { name: odd(1).into_os_string(), path: PathBuf::from("/a") };
    assert_eq!(named(names.clone()), names);
    let error = named::submit(Names { path: odd(1), ..names }).join().unwrap_err().to_string();
    assert!(error.contains("`Names.path`") && error.contains("UTF-8"), "{error}");
}

#[parallel(mode = "process", pool = 2)]
fn plain(array: [u8; 4096], lent: &[f32; 100], changed: &mut [u16; 40], boxed: Box<[f64]>) -> ([u32; 3], Box<[f64]>) {
    changed[39] = u16::from(array[4095]);
    ([array.len() as u32, lent.iter().sum::<f32>() as u32, 7], boxed)
}

#[parallel(mode = "process", pool = 2)]
fn array_of(value: u8) -> [u8; 5000] {
    [value; 5000]
}

#[test]
fn plain_arrays_of_any_length_and_boxed_slices_arrive() {
    let mut changed = [0_u16; 40];
    let (array, boxed) = plain([9; 4096], &[0.5; 100], &mut changed, vec![0.5; 1000].into());
    assert_eq!((array, boxed.len(), changed[39]), ([4096, 50, 7], 1000, 9));
    assert_eq!(array_of::map([1, 2]), [[1; 5000], [2; 5000]]);
}

#[parallel(mode = "process", pool = 2)]
fn small(a: bool, b: char, c: (), d: i8, e: u128) -> (bool, char, String) {
    let () = c;
    (a, b, format!("{d} {e}"))
}

#[parallel(mode = "process", pool = 2)]
fn mixed(f: f32, g: isize, h: String, i: &str) -> String {
    format!("{f} {g} {h} {i}")
}

#[parallel(mode = "process", pool = 2)]
fn letter(value: u32) -> char {
    char::from_u32(value).unwrap()
}

#[test]
fn numbers_and_text_arrive() {
    let (a, b, text) = small(true, 'ß', (), -1, u128::MAX);
    assert_eq!((a, b, text), (true, 'ß', format!("-1 {}", u128::MAX)));
    assert_eq!(mixed(0.5, isize::MIN, "ü".to_owned(), "é"), format!("0.5 {} ü é", isize::MIN));
    assert_eq!(letter::map([97, 0x10FFFF]), ['a', '\u{10FFFF}']);
}

/// Errors of other crates, as results.
mod errors {
    use std::error::Error;
    use std::io;

    use super::*;

    #[parallel(mode = "process", pool = 2)]
    fn read(path: &str) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    #[parallel(mode = "process", pool = 2)]
    fn boxed(text: String) -> Result<i32, Box<dyn Error + Send + Sync>> {
        Ok(text.parse()?)
    }

    #[parallel(mode = "process", pool = 2)]
    fn half(number: u32) -> anyhow::Result<u32> {
        use anyhow::Context;
        anyhow::ensure!(number != 9, "nine is right out");
        let exact: u8 = number.try_into().with_context(|| format!("{number} is too large"))?;
        Ok(u32::from(exact) / 2)
    }

    #[parallel(mode = "process", pool = 2)]
    fn foreign(text: String) -> Result<i32, RemoteError> {
        text.parse().map_err(RemoteError::from_error)
    }

    #[parallel(mode = "process", pool = 2)]
    fn task_error(kill: bool) -> Result<(), TaskError> {
        if kill {
            Err(task_error::submit(false).join().and_then(|result| result).unwrap_err())
        } else {
            Err(TaskError::Cancelled)
        }
    }

    #[test]
    fn errors_of_the_system_keep_their_kind() {
        let error = read("/no/such/file").unwrap_err();
        assert_eq!((error.kind(), error.raw_os_error()), (io::ErrorKind::NotFound, Some(2)));
        assert!(read("/proc/self/exe").is_ok_and(|bytes| !bytes.is_empty()));
        let kinds = read::map(["/no/such/file", "/", "/proc/self/exe"])
            .into_iter()
            .map(|read| read.map_err(|error| error.kind()));
        let kinds: Vec<_> = kinds.map(Result::err).collect();
        assert_eq!(kinds, [Some(io::ErrorKind::NotFound), Some(io::ErrorKind::IsADirectory), None]);
    }

    #[test]
    fn errors_of_any_type_arrive_with_their_sources() {
        assert_eq!(boxed("7".to_owned()).unwrap(), 7);
        assert_eq!(boxed("x".to_owned()).unwrap_err().to_string(), "invalid digit found in string");
        assert_eq!(half(8).unwrap(), 4);
        assert_eq!(half(9).unwrap_err().to_string(), "nine is right out");
        let error = half::submit(300).join().unwrap().unwrap_err();
        assert_eq!(format!("{error:#}"), "300 is too large: out of range integral type conversion attempted");
        assert!(error.downcast_ref::<RemoteError>().is_some_and(|error| error.source().is_some()));
        assert_eq!(foreign("x".to_owned()).unwrap_err().to_string(), "invalid digit found in string");
    }

    #[test]
    fn errors_of_tasks_are_values() {
        assert!(matches!(task_error(true), Err(TaskError::Cancelled)));
    }
}

#[parallel(mode = "process", pool = 2)]
fn shorten(list: &mut [String]) {
    list[0].clear();
}

#[test]
fn elements_that_own_memory_come_back_changed() {
    let mut list = ["a".to_owned(), "b".to_owned()];
    shorten(&mut list);
    assert_eq!(list, ["", "b"]);
}

/// What many items refer to.
mod shared_references {
    use std::collections::HashMap;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use parallel_runtime::{ProcessPool, SharedValue};

    use super::*;

    static WRITTEN: AtomicUsize = AtomicUsize::new(0);
    static READ: AtomicUsize = AtomicUsize::new(0);

    /// Says how often it was written and read.
    struct Config {
        entries: HashMap<u32, String>,
    }

    impl Serialize for Config {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            WRITTEN.fetch_add(1, Ordering::Relaxed);
            self.entries.serialize(serializer)
        }
    }

    impl<'de> Deserialize<'de> for Config {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            READ.fetch_add(1, Ordering::Relaxed);
            HashMap::deserialize(deserializer).map(|entries| Self { entries })
        }
    }

    /// The entry, which process ran it, and how often it has read a configuration.
    #[parallel(mode = "process", pool = 2)]
    fn look_up(config: &Config, key: u32) -> (String, u32, usize) {
        (config.entries[&key].clone(), std::process::id(), READ.load(Ordering::Relaxed))
    }

    #[test]
    fn a_reference_in_many_items_crosses_once_for_each_worker() {
        let config = Config { entries: (0..10_000).map(|key| (key, format!("entry {key}"))).collect() };
        let pool = ProcessPool::new(2);
        for chunk in [None, Some(1), Some(500)] {
            let (written, keys) = (WRITTEN.load(Ordering::Relaxed), 0..2000_u32);
            let call = look_up::on(&pool);
            let call = if let Some(chunk) = chunk { call.chunk(chunk) } else { call };
            let found = call.map(keys.clone().map(|key| (&config, key)));
            assert!(found.iter().zip(keys).all(|((entry, ..), key)| *entry == format!("entry {key}")));
            // In the first item, and in memory of its own; each is measured first.
            assert!(WRITTEN.load(Ordering::Relaxed) - written <= 5, "{chunk:?}");
            let mut read: HashMap<u32, Vec<usize>> = HashMap::new();
            found.iter().for_each(|(_, pid, count)| read.entry(*pid).or_default().push(*count));
            for counts in read.values() {
                // The first item's own, and the one that is kept.
                assert!(counts.last().unwrap() - counts.first().unwrap() <= 1, "{chunk:?}");
            }
        }
    }

    #[parallel(mode = "process", pool = 2)]
    fn many(config: &HashMap<u32, String>, text: &str, table: &[f64], names: &[PathBuf], key: u32) -> String {
        format!("{} {} {} {}", config[&key], &text[..1], table[key as usize], names[0].display())
    }

    #[parallel(mode = "process", pool = 2)]
    fn arrays(array: &[u16; 500], counter: &SharedValue<u64>, key: usize) -> u16 {
        counter.update(|count| *count += 1);
        array[key]
    }

    #[test]
    fn references_of_every_kind_in_many_items_are_what_they_are_in_one() {
        let config: HashMap<u32, String> = (0..1000).map(|key| (key, format!("entry {key}"))).collect();
        let (text, table, names) = ("t".repeat(1000), vec![0.5; 1000], vec![odd(1); 200]);
        let item = |key: u32| (&config, &*text, &table[..], &names[..], key);
        let results = many::map((0..1000).map(item));
        let expected = |key: u32| format!("entry {key} t 0.5 {}", odd(1).display());
        assert!(results.iter().zip(0..).all(|(result, key)| *result == expected(key)));
        let (a, b, c, d, e) = item(5);
        assert_eq!(many(a, b, c, d, e), expected(5));
        let (array, counter) = (std::array::from_fn(|index| index as u16), SharedValue::new(0_u64));
        assert!(arrays::map((0..500).map(|key| (&array, &counter, key))).into_iter().eq(0..500));
        assert_eq!(counter.get(), 500);
    }

    #[test]
    fn references_to_other_things_are_not_mixed_up() {
        let configs: Vec<HashMap<u32, String>> =
            (0..40).map(|number| (0..100).map(|key| (key, format!("{number}:{key}"))).collect()).collect();
        #[parallel(mode = "process", pool = 2)]
        fn get(config: &HashMap<u32, String>, key: u32) -> String {
            config[&key].clone()
        }
        let item = |index: u32| (&configs[index as usize % configs.len()], index % 100);
        for chunk in [1, 7, 300] {
            let results = get::options().chunk(chunk).map((0..2000).map(item));
            assert!(
                results.iter().zip(0..).all(|(result, index)| *result == format!("{}:{}", index % 40, index % 100))
            );
        }
        // Owned arguments lie where those before them lay.
        let owned = |index: u32| (configs[index as usize % configs.len()].clone(), index % 100);
        let results = get::map_async((0..2000).map(owned).collect::<Vec<_>>()).join().unwrap();
        assert!(results.iter().zip(0..).all(|(result, index)| *result == format!("{}:{}", index % 40, index % 100)));
    }

    #[test]
    fn slices_without_a_size_and_views_of_one_array_are_not_mixed_up() {
        #[derive(Clone, Serialize, Deserialize)]
        struct Unit;
        #[parallel(mode = "process", pool = 1)]
        fn lengths(units: &[Unit], whole: &[u32; 64], parts: &[f32; 64], length: usize) -> (usize, u32, u32, usize) {
            (units.len(), whole[1], parts[1].to_bits(), length)
        }
        let (units, array) = (vec![Unit; 1000], [7_u32; 64]);
        let floats: &[f32; 64] = bytemuck::cast_ref(&array);
        let results = lengths::map((0..1000).map(|length| (&units[..length], &array, floats, length)));
        assert!(results.iter().enumerate().all(|(length, result)| *result == (length, 7, 7, length)));
    }

    #[test]
    fn what_a_task_has_spoilt_before_it_panicked_is_not_what_others_see() {
        use std::sync::Mutex;
        #[derive(Serialize, Deserialize)]
        struct Table {
            guarded: Mutex<u32>,
            filler: Vec<u8>,
        }
        #[parallel(mode = "process", pool = 1, chunk = 10)]
        fn lock(table: &Table, panics: bool) -> bool {
            let guard = table.guarded.lock();
            assert!(!panics, "with the lock");
            guard.is_ok()
        }
        let table = Table { guarded: Mutex::new(0), filler: vec![0; 1000] };
        let results = lock::try_map((0..100).map(|number| (&table, number == 50)));
        let failed = results.iter().enumerate().filter(|(_, result)| !matches!(result, Ok(true)));
        assert_eq!(failed.map(|(index, _)| index).collect::<Vec<_>>(), [50]);
    }
}
