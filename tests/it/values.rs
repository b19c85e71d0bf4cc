//! Whatever serde's attributes make of a type arrives as it was sent, by every way over the border.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::net::IpAddr;

use parallel_runtime::{SharedDict, SharedList, SharedQueue, TaskError, parallel};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What can be sent.
trait Sent: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {}
impl<T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static> Sent for T {}

/// As an argument, behind `&` and `&mut`, as a result, as an item, and in each container.
#[parallel(mode = "process", pool = 2)]
fn through<T: Sent>(
    value: T,
    lent: &T,
    changed: &mut T,
    list: SharedList<T>,
    queue: SharedQueue<T>,
    dict: SharedDict<T, T>,
) -> Vec<T> {
    *changed = lent.clone();
    let mut all = vec![value, lent.clone(), list.pop().unwrap(), queue.pop().unwrap()];
    all.extend(dict.keys());
    all.extend(dict.values());
    all
}

#[track_caller]
fn crosses<T: Sent + PartialEq + Debug>(sent: &T, expected: &T) {
    let (list, queue, dict) = (SharedList::new(), SharedQueue::bounded(1), SharedDict::new());
    list.push(sent.clone());
    assert!(queue.push(sent.clone()).is_ok());
    dict.insert(sent.clone(), sent.clone());
    assert!(dict.get(sent).as_ref() == Some(expected), "as a key it is found");
    let (mut one, mut other) = (sent.clone(), sent.clone());
    // What has crossed once is what crosses a second time.
    let items = [
        (sent.clone(), sent, &mut one, list.clone(), queue.clone(), dict.clone()),
        (expected.clone(), expected, &mut other, SharedList::from_iter([sent.clone()]), SharedQueue::bounded(1), dict),
    ];
    let [(value, lent, changed, list, queue, dict), second] = items;
    let arrived = through(value, lent, changed, list, queue, dict);
    assert_eq!(arrived, vec![expected.clone(); 6]);
    assert!(second.4.push(sent.clone()).is_ok());
    assert_eq!(through::map([second]), [vec![expected.clone(); 6]]);
    assert_eq!([one, other], [expected.clone(), expected.clone()]);
}

/// A row for each attribute: what is sent, and after `=>` what arrives, if that is something else.
macro_rules! rows {
    ($($name:ident { $($item:item)* } [$($sent:expr $(=> $arrives:expr)?;)+])*) => {$(
        #[test]
        fn $name() {
            $(
                #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
                $item
            )*
            $({
                let sent = $sent;
                let expected = [$($arrives,)? sent.clone()].into_iter().next().unwrap();
                crosses(&sent, &expected);
            })+
        }
    )*};
}

mod halved {
    use serde::{Deserialize, Deserializer, Serializer};
    pub(super) fn serialize<S: Serializer>(value: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{}", value / 2))
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        let half = String::deserialize(deserializer)?;
        half.parse::<u32>().map(|half| 2 * half).map_err(serde::de::Error::custom)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
struct Parsed(u32);

impl From<String> for Parsed {
    fn from(text: String) -> Self {
        Self(text.parse().unwrap())
    }
}

impl From<Parsed> for String {
    fn from(parsed: Parsed) -> Self {
        parsed.0.to_string()
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
struct Even(u32);

impl TryFrom<u32> for Even {
    type Error = String;
    fn try_from(number: u32) -> Result<Self, String> {
        if number.is_multiple_of(2) { Ok(Self(number)) } else { Err(format!("{number} is odd")) }
    }
}

impl From<Even> for u32 {
    fn from(even: Even) -> Self {
        even.0
    }
}

fn five() -> u32 {
    5
}

rows! {
    container_rename {
        #[serde(rename = "other")] struct A { x: u32 }
    } [
        A { x: 1 };
    ]
    container_rename_all {
        #[serde(rename_all = "SCREAMING-KEBAB-CASE")] struct A { some_name: u32, other_name: String }
    } [
        A { some_name: 1, other_name: "a".into() };
    ]
    container_rename_all_fields {
        #[serde(rename_all_fields = "camelCase", rename_all = "snake_case")]
        enum A { OneThing { some_name: u32 }, OtherThing(u8) }
    } [
        A::OneThing { some_name: 1 };
        A::OtherThing(3);
    ]
    container_deny_unknown_fields {
        #[serde(deny_unknown_fields)] struct A { x: u32, y: Option<u8> }
    } [
        A { x: 1, y: None };
    ]
    container_tag_of_a_struct {
        #[serde(tag = "type")] struct Move { from: u32, to: u32 }
    } [
        Move { from: 1, to: 2 };
    ]
    container_tag_of_an_enum {
        #[derive(Default)] struct Inner { a: u8, b: Option<String> }
        #[serde(tag = "type")] enum A { Unit, Struct { x: u32, y: Vec<u8> }, New(Inner), Map(BTreeMap<String, i64>) }
    } [
        A::Unit;
        A::Struct { x: 1, y: vec![1, 2, 3] };
        A::New(Inner { a: 1, b: Some("b".into()) });
        A::New(Inner::default());
        A::Map(BTreeMap::from([("a".into(), -1)]));
    ]
    container_tag_and_content {
        #[serde(tag = "t", content = "c")] enum A { Unit, New(u64), Tuple(u8, String), Struct { x: Option<u8> } }
    } [
        A::Unit;
        A::New(u64::MAX);
        A::Tuple(1, "a".into());
        A::Struct { x: None };
    ]
    container_untagged {
        #[serde(untagged)]
        enum A { Unit, Flag(bool), Number(i64), Float(f64), Text(String), Pair(u8, char), Many(Vec<A>), Struct { x: u64 } }
    } [
        A::Unit;
        A::Flag(true);
        A::Number(-5);
        A::Float(0.5);
        A::Text("a".into());
        A::Pair(1, 'ß');
        A::Many(vec![A::Number(1), A::Number(2), A::Text("b".into()), A::Unit]);
        A::Struct { x: 7 };
    ]
    container_default {
        #[derive(Default)] #[serde(default)] struct A { x: u32, #[serde(skip_serializing)] y: u32 }
    } [
        A { x: 1, y: 2 } => A { x: 1, y: 0 };
    ]
    container_transparent {
        #[serde(transparent)] struct A { x: Vec<u32> }
    } [
        A { x: vec![1, 2] };
    ]
    container_bound {
        #[serde(bound(serialize = "T: Serialize", deserialize = "T: DeserializeOwned"))] struct A<T> { x: T }
    } [
        A { x: (1_u8, "a".to_owned()) };
    ]
    container_from_and_into {
        struct A { parsed: Parsed, even: Vec<Even> }
    } [
        A { parsed: Parsed(7), even: vec![Even(2), Even(4)] };
    ]
    variant_rename_and_alias {
        #[serde(rename_all = "kebab-case")] enum A { #[serde(rename = "x")] OneThing(u8), #[serde(alias = "y")] Other { #[serde(alias = "z")] a: u8 } }
    } [
        A::OneThing(1);
        A::Other { a: 2 };
    ]
    variant_skip {
        enum Message { #[serde(skip)] #[allow(dead_code)] Internal, Delete, Add(u64), #[serde(skip_deserializing)] #[allow(dead_code)] Odd, Keep { a: u8 } }
    } [
        Message::Delete;
        Message::Add(5);
        Message::Keep { a: 1 };
    ]
    variant_with {
        enum A { #[serde(with = "halved")] Half(u32), Whole(u32) }
    } [
        A::Half(8);
        A::Whole(7);
    ]
    variant_untagged_among_others {
        enum A { Known(u8), #[serde(untagged)] Other(String) }
    } [
        A::Known(1);
        A::Other("a".into());
    ]
    variant_other {
        #[serde(tag = "t")] enum A { Known, #[serde(other)] Unknown }
    } [
        A::Known;
        A::Unknown;
    ]
    field_rename {
        struct A { #[serde(rename = "type")] kind: String, #[serde(rename = "kind")] other: String }
    } [
        A { kind: "a".into(), other: "b".into() };
    ]
    field_alias {
        struct A { #[serde(alias = "b", alias = "c")] a: u8, d: u8 }
    } [
        A { a: 1, d: 2 };
    ]
    field_default {
        struct A { a: u32, #[serde(default = "five", skip_serializing)] b: u32 }
    } [
        A { a: 1, b: 2 } => A { a: 1, b: 5 };
    ]
    field_skip {
        struct A { #[serde(skip)] a: u32, b: u32, #[serde(skip, default = "five")] c: u32, d: f64 }
    } [
        A { a: 1, b: 2, c: 3, d: 4.0 } => A { a: 0, b: 2, c: 5, d: 4.0 };
    ]
    field_skip_deserializing {
        struct User { #[serde(skip_deserializing)] id: u64, age: u64, score: f64 }
    } [
        User { id: 7, age: 30, score: 1.5 } => User { id: 0, age: 30, score: 1.5 };
        User { id: 7, age: 31, score: 2.5 } => User { id: 0, age: 31, score: 2.5 };
    ]
    field_skip_serializing_if {
        struct A { #[serde(skip_serializing_if = "Option::is_none")] a: Option<u8>, b: u32, #[serde(default, skip_serializing_if = "Vec::is_empty")] c: Vec<u8> }
    } [
        A { a: None, b: 1, c: vec![] };
        A { a: Some(2), b: 1, c: vec![] };
        A { a: None, b: 1, c: vec![3] };
    ]
    field_skip_serializing_if_in_a_variant {
        enum V { A { #[serde(skip_serializing_if = "Option::is_none")] a: Option<u8>, b: u32 } }
    } [
        V::A { a: None, b: 1 };
        V::A { a: Some(2), b: 1 };
    ]
    field_skip_serializing_if_and_skip_deserializing {
        struct A { #[serde(skip_serializing_if = "Option::is_none")] a: Option<u8>, #[serde(skip_deserializing)] b: u32, c: u8 }
    } [
        A { a: None, b: 1, c: 2 } => A { a: None, b: 0, c: 2 };
    ]
    field_with {
        struct A { #[serde(with = "halved")] a: u32, b: u8 }
    } [
        A { a: 8, b: 1 };
    ]
    field_flatten_a_struct {
        struct Inner { b: u8, c: Option<IpAddr>, d: i64, e: char }
        struct A { a: u8, #[serde(flatten)] inner: Inner }
    } [
        A { a: 1, inner: Inner { b: 2, c: Some("::1".parse().unwrap()), d: -7, e: 'e' } };
        A { a: 1, inner: Inner { b: 2, c: None, d: 7, e: 'ß' } };
    ]
    field_flatten_a_map_with_letters_for_keys {
        struct A { a: u8, #[serde(flatten)] rest: BTreeMap<char, u8> }
    } [
        A { a: 1, rest: BTreeMap::from([('x', 1), ('ß', 2)]) };
    ]
    field_flatten_a_map {
        struct A { a: u8, #[serde(flatten)] rest: BTreeMap<String, serde_json::Value> }
    } [
        A { a: 1, rest: BTreeMap::from([("x".into(), serde_json::json!({"y": [1, null, "z", -1.5]}))]) };
        A { a: 1, rest: BTreeMap::new() };
    ]
    field_flatten_an_enum {
        #[serde(tag = "shape")] enum Inner { Circle { r: f64 }, Point }
        struct A { id: u8, #[serde(flatten)] inner: Inner }
    } [
        A { id: 1, inner: Inner::Circle { r: 0.5 } };
        A { id: 1, inner: Inner::Point };
    ]
    field_flatten_an_untagged_enum {
        enum Plain { Circle { r: f64 } }
        struct A { id: u8, #[serde(flatten)] inner: Plain }
    } [
        A { id: 1, inner: Plain::Circle { r: 0.5 } };
    ]
    field_flatten_an_option {
        struct Inner { b: u8 }
        struct A { a: u8, #[serde(flatten)] inner: Option<Inner> }
    } [
        A { a: 1, inner: None };
        A { a: 1, inner: Some(Inner { b: 2 }) };
    ]
    field_flatten_twice_with_skips {
        struct One { #[serde(skip_serializing_if = "Option::is_none")] b: Option<u8> }
        struct Two { c: String }
        struct A { #[serde(flatten)] one: One, #[serde(flatten)] two: Two, #[serde(skip_serializing_if = "Option::is_none")] d: Option<u8> }
    } [
        A { one: One { b: None }, two: Two { c: "c".into() }, d: None };
        A { one: One { b: Some(1) }, two: Two { c: "c".into() }, d: Some(2) };
    ]
    options_in_options {
        struct A { a: Option<Option<u8>>, b: Option<()>, c: Option<Option<Option<()>>> }
    } [
        A { a: None, b: None, c: None };
        A { a: Some(None), b: Some(()), c: Some(None) };
        A { a: Some(Some(1)), b: None, c: Some(Some(None)) };
        A { a: None, b: None, c: Some(Some(Some(()))) };
    ]
    options_of_what_reads_as_nothing {
        struct Nothing;
        struct A { a: Option<Nothing>, b: Option<serde_json::Value>, c: Vec<Option<u16>> }
    } [
        A { a: Some(Nothing), b: Some(serde_json::Value::Null), c: vec![Some(1), None, Some(3)] }
            => A { a: Some(Nothing), b: Some(serde_json::Value::Null), c: vec![Some(1), None, Some(3)] };
        A { a: None, b: None, c: vec![None, Some(2)] };
    ]
    maps_with_keys_of_every_kind {
        #[derive(Eq, Hash)] enum Key { One, Two(u8) }
        struct A { a: HashMap<Key, u8>, b: HashMap<u32, String>, c: BTreeMap<(u8, char), bool>, d: HashMap<Option<u8>, ()> }
    } [
        A {
            a: HashMap::from([(Key::One, 1)]),
            b: HashMap::from([(7, "seven".into())]),
            c: BTreeMap::from([((1, 'a'), true), ((2, 'b'), false)]),
            d: HashMap::from([(None, ())]),
        };
        A { a: HashMap::from([(Key::Two(2), 1)]), b: HashMap::new(), c: BTreeMap::new(), d: HashMap::from([(Some(1), ())]) };
    ]
    runs_of_numbers_that_break {
        #[serde(untagged)] enum Number { Whole(u64), Float(f64) }
        struct A { n: (i128, u128), a: Vec<Number>, b: [i16; 9], c: Vec<(u8, f32)>, d: Vec<Vec<u8>>, e: Vec<bool>, f: Vec<char> }
    } [
        A {
            n: (i128::MIN, u128::MAX),
            a: vec![Number::Whole(1), Number::Whole(2), Number::Float(0.5), Number::Whole(3)],
            b: [-1; 9],
            c: vec![(1, 0.5); 3],
            d: vec![vec![], vec![1], vec![2, 3]],
            e: vec![true, false],
            f: vec!['a', 'ß'],
        };
    ]
    what_serde_json_has {
        struct A { value: serde_json::Value, map: serde_json::Map<String, serde_json::Value> }
    } [
        A {
            value: serde_json::json!([null, true, 1, -1, 1.5, "text", {"a": {"b": []}}]),
            map: serde_json::json!({"x": 1}).as_object().unwrap().clone(),
        };
    ]
}

/// A type that is made elsewhere.
mod elsewhere {
    #[derive(Debug, Clone, PartialEq)]
    pub(super) struct Point {
        x: i32,
    }
    impl Point {
        pub(super) fn new(x: i32) -> Self {
            Self { x }
        }
        pub(super) fn x(&self) -> i32 {
            self.x
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "elsewhere::Point")]
struct PointDef {
    #[serde(getter = "elsewhere::Point::x")]
    x: i32,
}

impl From<PointDef> for elsewhere::Point {
    fn from(point: PointDef) -> Self {
        Self::new(point.x)
    }
}

rows! {
    container_remote {
        struct A { #[serde(with = "PointDef")] point: elsewhere::Point }
    } [
        A { point: elsewhere::Point::new(-3) };
    ]
}

/// What is read otherwise than it is written fails, and says where.
mod refused {
    use super::*;

    #[parallel(mode = "process", pool = 2)]
    fn first<T: Sent>(value: T, after: u64) -> u64 {
        drop(value);
        after
    }

    #[parallel(mode = "process", pool = 2)]
    fn make<T: Sent + Default>() -> T {
        T::default()
    }

    #[track_caller]
    fn refused<T: Sent + Default>(words: &[&str]) {
        let errors = [
            first::submit(T::default(), 5).join().unwrap_err().to_string(),
            make::<T>::submit().join().map(drop).unwrap_err().to_string(),
        ];
        for error in errors {
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
        // And the pool goes on.
        assert_eq!(first(1_u8, 5), 5);
    }

    macro_rules! refused {
        ($($name:ident { $item:item $($words:literal),+ })*) => {$(
            #[test]
            fn $name() {
                #[derive(Debug, Clone, Default, Serialize, Deserialize)]
                $item
                refused::<A>(&[$($words),+]);
            }
        )*};
    }

    refused! {
        a_field_that_is_renamed_between_writing_and_reading {
            struct A { #[serde(rename(serialize = "written", deserialize = "read"))] value: Option<u8> }
            "`A`", "`written`", "`read`"
        }
        a_field_that_is_not_written_and_has_no_default {
            #[allow(dead_code)] struct A { #[serde(skip_serializing)] value: u8 }
            "`A`", "value"
        }
        a_value_that_its_type_does_not_take {
            struct A { odd: Odd }
            "`A.odd`", "0 is even"
        }
        a_type_that_is_written_wider_than_it_is_read {
            struct A { narrow: Narrow }
            "`A.narrow`", "there is a tuple"
        }
        a_type_that_reads_nothing_of_what_it_writes {
            struct A { lazy: Lazy, after: u64 }
            "`A.lazy`", "does not read all"
        }
    }

    fn or_default<'de, T: Deserialize<'de> + Default, D: serde::Deserializer<'de>>(value: D) -> Result<T, D::Error> {
        Ok(T::deserialize(value).unwrap_or_default())
    }

    /// Reads a text as a flag, and goes on.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Written {
        flag: String,
        number: u8,
        text: String,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(into = "Written")]
    struct Swallows {
        #[serde(deserialize_with = "or_default")]
        flag: bool,
        number: u8,
        text: String,
    }

    impl From<Swallows> for Written {
        fn from(value: Swallows) -> Self {
            Self { flag: "\n\x05\u{1}true".repeat(20), number: value.number, text: value.text }
        }
    }

    #[test]
    fn an_error_that_a_type_swallows_harms_nothing_else() {
        let sent = Swallows { flag: true, number: 9, text: "after".to_owned() };
        crosses(&sent, &Swallows { flag: false, ..sent.clone() });
    }

    /// Catches a panic of what it writes.
    #[derive(Debug, Clone, Default, Deserialize)]
    #[allow(dead_code)]
    struct Catches(u32, u32);

    impl Serialize for Catches {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeTupleStruct;
            struct Panics;
            impl Serialize for Panics {
                fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    let mut sequence = serializer.serialize_seq(Some(3))?;
                    serde::ser::SerializeSeq::serialize_element(&mut sequence, &"half")?;
                    std::panic::resume_unwind(Box::new("half-way"));
                }
            }
            let mut tuple = serializer.serialize_tuple_struct("Catches", 2)?;
            tuple.serialize_field(&self.0)?;
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| tuple.serialize_field(&Panics)));
            tuple.end()
        }
    }

    #[test]
    fn a_panic_that_a_type_swallows_refuses_its_value() {
        let error = first::submit(Catches(1, 2), 5).join().unwrap_err().to_string();
        assert!(error.contains("after an error or a panic"), "{error}");
    }

    /// Holds itself through a type that is written as what it holds.
    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    struct Node {
        #[serde(default, skip_serializing_if = "Link::is_end")]
        next: Link,
    }

    #[derive(Debug, Clone, Default)]
    struct Link(Option<Box<Node>>);

    impl Link {
        fn is_end(&self) -> bool {
            self.0.is_none()
        }
    }

    impl Serialize for Link {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.0.as_ref().unwrap().serialize(serializer)
        }
    }

    impl<'de> Deserialize<'de> for Link {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            Node::deserialize(deserializer).map(|node| Self(Some(Box::new(node))))
        }
    }

    #[parallel(mode = "process", pool = 2)]
    fn look(node: &Node) -> bool {
        node.next.is_end()
    }

    #[test]
    fn structs_in_structs_end_with_the_stack() {
        let node = |depth: usize| (0..depth).fold(Node::default(), |next, _| Node { next: Link(Some(Box::new(next))) });
        assert!(!look(&node(20)));
        let deep = Box::leak(Box::new(node(100_000)));
        let error = look::try_map([&*deep]).pop().unwrap().unwrap_err().to_string();
        assert!(error.contains("nested too deeply"), "{error}");
    }

    #[test]
    fn a_type_that_reads_nothing_does_not_shift_what_comes_after_it() {
        refused::<Lazy>(&["`Lazy`", "does not read all"]);
    }

    /// Its default is none of its values.
    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    #[serde(try_from = "u32", into = "u32")]
    struct Odd(u32);

    impl TryFrom<u32> for Odd {
        type Error = String;
        fn try_from(number: u32) -> Result<Self, String> {
            if number.is_multiple_of(2) { Err(format!("{number} is even")) } else { Ok(Self(number)) }
        }
    }

    impl From<Odd> for u32 {
        fn from(odd: Odd) -> Self {
            odd.0
        }
    }

    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    #[serde(into = "Wide")]
    struct Narrow(u64);

    #[derive(Serialize)]
    struct Wide(u64, u64);

    impl From<Narrow> for Wide {
        fn from(narrow: Narrow) -> Self {
            Self(narrow.0, 77)
        }
    }

    #[derive(Debug, Clone, Default, Serialize)]
    struct Lazy(u64);

    impl<'de> Deserialize<'de> for Lazy {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Ok(Self(0))
        }
    }
}

/// Handles of shared memory in what serde buffers.
mod handles {
    use parallel_runtime::{SharedSlice, SharedValue, SharedVec};

    use super::*;

    #[derive(Clone, Serialize, Deserialize)]
    struct Image {
        pixels: SharedSlice<u8>,
        count: SharedValue<u32>,
    }

    #[derive(Clone, Serialize, Deserialize)]
    #[serde(tag = "type")]
    enum Tagged {
        Image { image: Image, size: u8 },
    }

    #[derive(Clone, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(u32),
        Image(Image),
    }

    #[derive(Clone, Serialize, Deserialize)]
    struct Flat {
        #[serde(flatten)]
        image: Image,
        tagged: Tagged,
        untagged: Untagged,
    }

    #[derive(Serialize, Deserialize)]
    #[serde(tag = "type")]
    enum Owned {
        Buffer { vec: SharedVec<u8> },
    }

    #[parallel(mode = "process", pool = 2)]
    fn count(flat: Flat) -> (u32, Flat) {
        let Tagged::Image { image, size } = &flat.tagged;
        flat.image.count.update(|count| *count += u32::from(image.pixels[3]) + u32::from(*size));
        (flat.image.pixels.iter().map(|pixel| u32::from(*pixel)).sum(), flat)
    }

    #[parallel(mode = "process", pool = 2)]
    fn fill(owned: Owned, value: u8) -> Owned {
        let Owned::Buffer { mut vec } = owned;
        vec.fill(value);
        Owned::Buffer { vec }
    }

    #[test]
    fn handles_cross_in_flattened_tagged_and_untagged_types() {
        let image = Image { pixels: SharedSlice::from_slice(&[1; 1000]), count: SharedValue::new(0) };
        let tagged = Tagged::Image { image: image.clone(), size: 5 };
        let flat = Flat { image: image.clone(), tagged, untagged: Untagged::Image(image.clone()) };
        let results = count::map([flat.clone(), flat]);
        assert!(results.iter().all(|(sum, back)| *sum == 1000 && back.image.pixels.len() == 1000));
        assert!(matches!(&results[0].1.untagged, Untagged::Image(image) if image.pixels[0] == 1));
        assert_eq!(image.count.get(), 12);
        let Owned::Buffer { vec } = fill(Owned::Buffer { vec: SharedVec::zeroed(100) }, 7);
        assert_eq!(vec, [7; 100]);
    }
}

/// Panics when it is read back, if it is odd.
#[derive(Debug, PartialEq)]
struct Bomb(u64);

impl Serialize for Bomb {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Bomb {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = u64::deserialize(deserializer)?;
        assert!(value % 2 == 0, "{value} goes off");
        Ok(Self(value))
    }
}

#[parallel(mode = "process", pool = 2)]
fn bomb(x: u64) -> Bomb {
    assert!(x % 10 != 4, "{x} ends in 4");
    Bomb(x)
}

#[test]
fn a_result_whose_deserialize_panics_costs_its_own_item_of_a_map_that_goes_on() {
    let results = bomb::try_map(0..300);
    assert_eq!(results.len(), 300);
    for (x, result) in (0..).zip(results) {
        match result {
            Ok(value) => assert!(value == Bomb(x) && x % 2 == 0 && x % 10 != 4),
            Err(TaskError::Decode { reason, what: "result", .. }) => {
                assert!(x % 2 == 1 && reason.contains(&format!("{x} goes off")), "{reason}");
            }
            Err(TaskError::Panicked { .. }) => assert_eq!(x % 10, 4),
            Err(other) => panic!("{x}: {other:?}"),
        }
    }
    let mut streamed: Vec<bool> = bomb::imap([0, 1, 2, 3]).map(|result| result.is_ok()).collect();
    streamed.sort_unstable();
    assert_eq!(streamed, [false, false, true, true]);
}
