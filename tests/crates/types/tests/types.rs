//! Values of other crates' types arrive as they were sent.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

use parallel_runtime::{SharedDict, parallel};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

trait Sent: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {}
impl<T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static> Sent for T {}

#[parallel(mode = "process", pool = 2)]
fn through<T: Sent>(value: T, lent: &T, maybe: Option<T>, dict: SharedDict<u8, T>) -> (T, T, Option<T>, Vec<T>) {
    (value, lent.clone(), maybe, dict.values())
}

/// `same`: whether two are equal.
#[track_caller]
fn crosses_by<T: Sent>(value: T, same: impl Fn(&T, &T) -> bool) {
    let dict: SharedDict<u8, T> = SharedDict::from_iter([(1, value.clone())]);
    let (by_value, by_ref, maybe, values) = through(value.clone(), &value, Some(value.clone()), dict);
    assert!(same(&by_value, &value), "by value");
    assert!(same(&by_ref, &value), "behind a reference");
    assert!(maybe.is_some_and(|maybe| same(&maybe, &value)), "in an option");
    assert!(values.len() == 1 && same(&values[0], &value), "in a dictionary");
}

#[track_caller]
fn crosses<T: Sent + PartialEq + Debug>(value: T) {
    crosses_by(value, |arrived, sent| {
        assert_eq!(arrived, sent);
        true
    });
}

#[test]
fn dates_and_times() {
    crosses(chrono::DateTime::<chrono::Utc>::from_timestamp(1_700_000_000, 123_456_789).unwrap());
    crosses(chrono::DateTime::parse_from_rfc3339("2024-02-29T12:00:00.5+02:00").unwrap());
    crosses(chrono::NaiveDate::from_ymd_opt(2024, 2, 29).unwrap().and_hms_nano_opt(1, 2, 3, 4).unwrap());
    crosses((chrono::Weekday::Sun, chrono::Month::May, chrono::TimeDelta::nanoseconds(-5)));
    crosses(time::macros::datetime!(2024-02-29 12:00:00.000000007 +1));
    crosses((time::macros::date!(2024 - 02 - 29), time::macros::time!(1:02:03), time::Duration::nanoseconds(-5)));
    crosses("2024-02-29T12:00:00.000000007Z".parse::<jiff::Timestamp>().unwrap());
    crosses("2024-02-29T12:00:00[UTC]".parse::<jiff::Zoned>().unwrap());
    crosses("2024-02-29".parse::<jiff::civil::Date>().unwrap());
    crosses_by("P1Y2M3DT4H".parse::<jiff::Span>().unwrap(), |one, other| one.fieldwise() == *other);
}

#[test]
fn names_and_addresses() {
    crosses(uuid::Uuid::from_u128(0x1234_5678_9abc));
    crosses(ulid::Ulid::from_parts(1_700_000_000, 77));
    crosses(url::Url::parse("https://example.com/a?b=c#d").unwrap());
    crosses("10.0.0.0/8".parse::<ipnet::IpNet>().unwrap());
    crosses(semver::Version::parse("1.2.3-a+b").unwrap());
    crosses(semver::VersionReq::parse(">=1.2, <2").unwrap());
    crosses(camino::Utf8PathBuf::from("/a/ü"));
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Request {
        #[serde(with = "http_serde::uri")]
        uri: http::Uri,
        #[serde(with = "http_serde::method")]
        method: http::Method,
        #[serde(with = "http_serde::header_map")]
        headers: http::HeaderMap,
    }
    let headers = [(http::header::ACCEPT, http::HeaderValue::from_static("*/*"))].into_iter().collect();
    crosses(Request { uri: "/a?b".parse().unwrap(), method: http::Method::PUT, headers });
}

#[test]
fn numbers() {
    crosses("-123456789.000000000001".parse::<rust_decimal::Decimal>().unwrap());
    crosses("1e-50".parse::<bigdecimal::BigDecimal>().unwrap());
    crosses("-123456789012345678901234567890".parse::<num_bigint::BigInt>().unwrap());
    crosses(num_complex::Complex::new(1.5, -2.5));
    crosses(num_rational::Ratio::new(3_i64, 7));
    crosses(half::f16::from_f32(0.1));
    crosses(vec![half::bf16::from_f32(3.0); 20]);
    crosses(ordered_float::OrderedFloat(f64::NAN));
    crosses(std::num::NonZeroU32::new(7).unwrap());
    crosses(std::num::Wrapping(7_u8));
}

#[test]
fn geometry_and_arrays() {
    crosses((glam::Vec3::new(1.0, 2.0, 3.0), glam::Quat::IDENTITY, glam::DMat4::IDENTITY));
    crosses(nalgebra::Matrix3::new(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0));
    crosses(nalgebra::DMatrix::from_fn(5, 7, |row, column| row as f64 + column as f64 / 10.0));
    crosses(nalgebra::UnitQuaternion::from_euler_angles(0.1, 0.2, 0.3));
    crosses(ndarray::Array3::from_shape_fn((2, 3, 4), |(a, b, c)| (a * b + c) as f32));
    crosses(ndarray::Array1::from(vec!["a".to_owned(), "b".to_owned()]));
    crosses(geo_types::Polygon::new(vec![(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)].into(), vec![]));
    crosses(geo_types::Geometry::Point(geo_types::point!(x: 1.0, y: 2.0)));
    let graph = petgraph::graph::DiGraph::<&str, u8>::from_edges([(0, 1, 5), (1, 2, 6)])
        .map(|index, _| index.index().to_string(), |_, edge| *edge);
    crosses_by(graph, |one, other| {
        let nodes = |graph: &petgraph::graph::DiGraph<String, u8>| graph.node_weights().cloned().collect::<Vec<_>>();
        nodes(one) == nodes(other) && one.edge_count() == other.edge_count()
    });
}

#[test]
fn collections() {
    crosses(indexmap::IndexMap::<String, u32>::from([("b".to_owned(), 1), ("a".to_owned(), 2)]));
    crosses(indexmap::IndexSet::<u8>::from([3, 1, 2]));
    crosses(smallvec::SmallVec::<[u16; 4]>::from_slice(&[1, 2, 3, 4, 5]));
    crosses(arrayvec::ArrayVec::<u32, 8>::from_iter([1, 2, 3]));
    crosses(arrayvec::ArrayString::<8>::from("abc").unwrap());
    crosses(tinyvec::TinyVec::<[u8; 4]>::from_iter([1, 2, 3, 4, 5]));
    crosses(heapless::Vec::<u8, 8>::from_slice(&[1, 2]).unwrap());
    crosses(hashbrown::HashMap::<u8, String>::from_iter([(1, "a".to_owned())]));
    crosses(either::Either::<u8, String>::Right("a".to_owned()));
    crosses(bit_vec::BitVec::<u32>::from_elem(40, true));
    let mut slots = slotmap::SlotMap::<slotmap::DefaultKey, u8>::new();
    let key = slots.insert(5);
    crosses_by(slots, move |one, other| one.get(key) == other.get(key));
    crosses_by(dashmap::DashMap::<u8, u8>::from_iter([(1, 2)]), |one, other| {
        *one.get(&1).unwrap() == *other.get(&1).unwrap()
    });
    crosses(std::rc::Rc::<str>::from("a").to_string());
    crosses(std::sync::Arc::<[u8]>::from([1, 2, 3]));
}

#[test]
fn text_and_bytes() {
    crosses(bytes::Bytes::from_static(b"\x00\xff"));
    crosses(bytes::BytesMut::from(&b"abc"[..]));
    crosses(serde_bytes::ByteBuf::from(vec![1, 2, 3]));
    crosses(bstr::BString::from(&b"\xffabc"[..]));
    crosses(compact_str::CompactString::from("a text that is longer than that"));
    crosses(smol_str::SmolStr::new("abc"));
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Blob {
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
        #[serde(with = "serde_bytes")]
        maybe: Option<Vec<u8>>,
    }
    crosses(Blob { bytes: vec![1, 2], maybe: Some(vec![3]) });
}

#[test]
fn values_of_other_formats() {
    crosses(serde_json::json!({"a": [1, -1, 1.5, null, true, "x", {"b": {}}], "c": u64::MAX}));
    crosses(serde_json::Number::from(7));
    crosses_by(serde_json::value::RawValue::from_string("{\"a\": [1, 2]}".to_owned()).unwrap(), |one, other| {
        one.get() == other.get()
    });
    crosses(toml::toml! { a = 1
    b = 1979-05-27T07:32:00Z
    [c]
    d = ["x", "y"] });
    crosses("1979-05-27T07:32:00.5-08:00".parse::<toml::value::Datetime>().unwrap());
    // Not with a tag: that is written as a map in any format but YAML.
    crosses(serde_yaml_ng::from_str::<serde_yaml_ng::Value>("{a: [1, 2.5, ~, x], b: {c: d}}").unwrap());
    let map = vec![
        (ciborium::Value::from(1), ciborium::Value::Bytes(vec![1, 2])),
        (ciborium::Value::from("a"), ciborium::Value::Null),
    ];
    crosses(ciborium::Value::Map(map));
}

bitflags::bitflags! {
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    struct Flags: u32 {
        const A = 1;
        const B = 4;
    }
}

#[derive(Debug, enumset::EnumSetType, Serialize, Deserialize)]
#[enumset(serialize_repr = "list")]
enum Day {
    One,
    Two,
}

#[derive(Debug, Clone, Copy, PartialEq, serde_repr::Serialize_repr, serde_repr::Deserialize_repr)]
#[repr(u8)]
enum Level {
    Low = 1,
    High = 9,
}

#[serde_with::serde_as]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct With {
    #[serde_as(as = "serde_with::DisplayFromStr")]
    number: u32,
    #[serde_as(as = "serde_with::hex::Hex")]
    hex: Vec<u8>,
    #[serde_as(as = "serde_with::base64::Base64")]
    base64: Vec<u8>,
    #[serde_as(as = "serde_with::DurationSecondsWithFrac<f64>")]
    seconds: std::time::Duration,
    #[serde_as(as = "Vec<(_, _)>")]
    pairs: BTreeMap<(u8, u8), String>,
    #[serde_as(as = "HashMap<serde_with::DisplayFromStr, _>")]
    texts: HashMap<u32, Option<u8>>,
    #[serde_as(as = "serde_with::OneOrMany<_>")]
    many: Vec<u8>,
    #[serde_as(as = "[_; 40]")]
    array: [u8; 40],
    #[serde_as(deserialize_as = "serde_with::DefaultOnNull")]
    default: u8,
    #[serde_as(as = "serde_with::NoneAsEmptyString")]
    none: Option<String>,
}

#[test]
fn attributes_of_other_crates() {
    crosses(Flags::A | Flags::B);
    crosses(Day::One | Day::Two);
    crosses([Level::Low, Level::High]);
    crosses(With {
        number: 7,
        hex: vec![1, 255],
        base64: vec![1, 2, 3],
        seconds: std::time::Duration::from_millis(1500),
        pairs: BTreeMap::from([((1, 2), "a".to_owned())]),
        texts: HashMap::from([(5, Some(6)), (7, None)]),
        many: vec![9],
        array: [3; 40],
        default: 4,
        none: None,
    });
}
