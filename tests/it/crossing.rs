//! What crosses a process border, and what is refused there, type by type.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, OsStr};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use parallel_runtime::parallel;
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

