//! A [`Value`] tree read by serde: types say what a file may hold, errors say file, line, column and key.
//!
//! Scalars are taken by their spelling: `16` and `"16"` are both the text `16`, so that no reader of YAML needs to
//! agree with another about numbers and words like `no`.

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

use super::SpecError;
use super::reader::{list_words, nearest};
use super::yaml::{Key, Kind, Mark, Value, is_bool};
use crate::plan::Origin;

/// Reads a value of some type. `path` is the key that leads to it, empty at the top.
pub(crate) fn read<'a, T: Deserialize<'a>>(value: &'a Value, path: &str) -> Result<T, SpecError> {
    T::deserialize(Reader {
        value,
        path: path.to_owned(),
    })
    .map_err(|e| e.at(value, path).into())
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub origin: Origin,
}

impl<T> std::ops::Deref for At<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Name by which [`Reader`] knows that the place of a value is wanted too.
const AT: &str = "$At";
const AT_FIELDS: &[&str] = &["file", "line", "value"];

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Place<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Place<T> {
            type Value = At<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<At<T>, A::Error> {
                let missing = || de::Error::custom("a value without a place");
                let (_, file) = map.next_entry::<String, String>()?.ok_or_else(missing)?;
                let (_, line) = map.next_entry::<String, u64>()?.ok_or_else(missing)?;
                let (_, value) = map.next_entry::<String, T>()?.ok_or_else(missing)?;
                Ok(At {
                    value,
                    origin: Origin { file, line },
                })
            }
        }
        deserializer.deserialize_struct(AT, AT_FIELDS, Place(PhantomData))
    }
}

impl<T: schemars::JsonSchema> schemars::JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        T::json_schema(generator)
    }
}

/// What went wrong; the place is filled in where it is known best, at the innermost value.
#[derive(Debug)]
pub(crate) struct ReadError {
    message: String,
    place: Option<(Arc<str>, Mark, String)>,
}

impl ReadError {
    fn at(mut self, value: &Value, path: &str) -> Self {
        self.place
            .get_or_insert_with(|| (Arc::clone(&value.file), value.mark, path.to_owned()));
        self
    }

    fn at_key(mut self, value: &Value, mark: Mark, path: String) -> Self {
        self.place
            .get_or_insert_with(|| (Arc::clone(&value.file), mark, path));
        self
    }
}

impl From<ReadError> for SpecError {
    fn from(e: ReadError) -> Self {
        let (file, mark, key) = e
            .place
            .unwrap_or_else(|| ("".into(), Mark::default(), String::new()));
        Self::new(&file, mark, &key, &e.message)
    }
}

impl Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ReadError {}

fn hint(name: &str, words: &[&'static str]) -> String {
    nearest(name, words.iter().copied()).map_or(String::new(), |n| format!(", did you mean `{n}`?"))
}

impl de::Error for ReadError {
    fn custom<T: Display>(message: T) -> Self {
        Self {
            message: message.to_string(),
            place: None,
        }
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::custom(format!("expected {expected}, found {}", words(&found)))
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::custom(format!("expected {expected}, found {}", words(&found)))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(format!(
            "`{variant}` is not known here{}; the words here are {}",
            hint(variant, expected),
            list_words(expected.iter().copied())
        ))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(unknown_key(field, expected))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom(format!("the key `{field}` is missing"))
    }
}

/// What is said of a key that is not known. A long list of keys is left out where one of them is near enough.
pub(crate) fn unknown_key(name: &str, known: &[&'static str]) -> String {
    const LONG: usize = 12;
    match nearest(name, known.iter().copied()) {
        Some(near) if known.len() > LONG => format!("unknown key, did you mean `{near}`?"),
        _ => format!(
            "unknown key{}; the keys here are {}",
            hint(name, known),
            list_words(known.iter().copied())
        ),
    }
}

fn words(found: &de::Unexpected<'_>) -> String {
    match found {
        de::Unexpected::Str(text) => format!("the text `{text}`"),
        de::Unexpected::Map => "a map".to_owned(),
        de::Unexpected::Seq => "a list".to_owned(),
        de::Unexpected::Unit => "nothing".to_owned(),
        other => other.to_string(),
    }
}

#[derive(Clone)]
struct Reader<'a> {
    value: &'a Value,
    path: String,
}

impl<'a> Reader<'a> {
    fn unexpected(&self) -> de::Unexpected<'a> {
        match &self.value.kind {
            Kind::List(_) => de::Unexpected::Seq,
            Kind::Map(_) => de::Unexpected::Map,
            Kind::Scalar { .. } if self.value.is_null() => de::Unexpected::Unit,
            Kind::Scalar { text, .. } => de::Unexpected::Str(text),
        }
    }

    fn scalar(&self, visitor: &impl Visitor<'a>) -> Result<&'a str, ReadError> {
        match &self.value.kind {
            Kind::Scalar { text, .. } if !self.value.is_null() => Ok(text),
            _ => Err(de::Error::invalid_type(self.unexpected(), visitor)),
        }
    }

    fn number<T: std::str::FromStr>(&self, visitor: &impl Visitor<'a>) -> Result<T, ReadError> {
        let text = self.scalar(visitor)?;
        text.parse()
            .map_err(|_| de::Error::invalid_value(de::Unexpected::Str(text), visitor))
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident)*) => {$(
        fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
            let number = self.number(&visitor).map_err(|e| e.at(self.value, &self.path))?;
            visitor.$visit(number).map_err(|e: ReadError| e.at(self.value, &self.path))
        }
    )*};
}

impl<'a> Deserializer<'a> for Reader<'a> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let result = match &self.value.kind {
            Kind::List(items) => visitor.visit_seq(Items {
                items: items.iter().enumerate(),
                path: &self.path,
            }),
            Kind::Map(entries) => visitor.visit_map(Entries {
                entries: entries.iter(),
                path: &self.path,
                value: None,
            }),
            Kind::Scalar { .. } if self.value.is_null() => visitor.visit_unit(),
            Kind::Scalar { text, plain: true } if is_bool(text) => {
                visitor.visit_bool(text.eq_ignore_ascii_case("true"))
            }
            Kind::Scalar { text, .. } => visitor.visit_borrowed_str(text),
        };
        result.map_err(|e: ReadError| e.at(self.value, &self.path))
    }

    fn deserialize_bool<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.value.kind {
            Kind::Scalar { text, plain: true } if is_bool(text) => {
                visitor.visit_bool(text.eq_ignore_ascii_case("true"))
            }
            _ => Err(<ReadError as de::Error>::custom(format!(
                "expected `true` or `false`, found {}",
                self.value.describe()
            ))
            .at(self.value, &self.path)),
        }
    }

    numbers! {
        deserialize_i8 visit_i8 deserialize_i16 visit_i16 deserialize_i32 visit_i32 deserialize_i64 visit_i64
        deserialize_u8 visit_u8 deserialize_u16 visit_u16 deserialize_u32 visit_u32 deserialize_u64 visit_u64
        deserialize_f32 visit_f32 deserialize_f64 visit_f64
    }

    fn deserialize_str<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.scalar(&visitor)
            .and_then(|text| visitor.visit_borrowed_str(text))
            .map_err(|e| e.at(self.value, &self.path))
    }

    fn deserialize_string<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if self.value.is_null() {
            return Err(<ReadError as de::Error>::custom("the key has no value").at(self.value, &self.path));
        }
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'a>>(
        self,
        name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if name == AT {
            return visitor.visit_map(PlaceEntries {
                reader: self,
                next: 0,
            });
        }
        self.deserialize_map(visitor)
    }

    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if matches!(self.value.kind, Kind::Map(_)) {
            return self.deserialize_any(visitor);
        }
        Err(
            <ReadError as de::Error>::custom(format!("expected a map, found {}", self.value.describe()))
                .at(self.value, &self.path),
        )
    }

    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if matches!(self.value.kind, Kind::List(_)) {
            return self.deserialize_any(visitor);
        }
        Err(
            <ReadError as de::Error>::custom(format!("expected a list, found {}", self.value.describe()))
                .at(self.value, &self.path),
        )
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let (value, path) = (self.value, self.path.clone());
        let access = match &value.kind {
            Kind::Scalar { text, .. } if !value.is_null() => Variant {
                name: text,
                content: None,
            },
            Kind::Map(entries) if entries.len() == 1 => Variant {
                name: &entries[0].0.text,
                content: Some(Self {
                    value: &entries[0].1,
                    path: join(&path, &entries[0].0.text),
                }),
            },
            _ => {
                return Err(<ReadError as de::Error>::custom(format!(
                    "expected one of {}, found {}",
                    list_words(variants.iter().copied()),
                    value.describe()
                ))
                .at(value, &path));
            }
        };
        visitor.visit_enum(access).map_err(|e| e.at(value, &path))
    }

    fn deserialize_ignored_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        <V: Visitor<'a>>
        i128 u128 bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

struct Items<'a, 'p> {
    items: std::iter::Enumerate<std::slice::Iter<'a, Value>>,
    path: &'p str,
}

impl<'a> SeqAccess<'a> for Items<'a, '_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        let Some((i, value)) = self.items.next() else {
            return Ok(None);
        };
        let path = format!("{}[{i}]", self.path);
        seed.deserialize(Reader {
            value,
            path: path.clone(),
        })
        .map(Some)
        .map_err(|e| e.at(value, &path))
    }
}

struct Entries<'a, 'p> {
    entries: std::slice::Iter<'a, (Key, Value)>,
    path: &'p str,
    value: Option<(&'a Value, String)>,
}

impl<'a> MapAccess<'a> for Entries<'a, '_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        let Some((key, value)) = self.entries.next() else {
            return Ok(None);
        };
        let path = join(self.path, &key.text);
        self.value = Some((value, path.clone()));
        let text: de::value::BorrowedStrDeserializer<'a, ReadError> =
            de::value::BorrowedStrDeserializer::new(&key.text);
        seed.deserialize(text)
            .map(Some)
            .map_err(|e| e.at_key(value, key.mark, path))
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let Some((value, path)) = self.value.take() else {
            return Err(de::Error::custom("a value without its key"));
        };
        seed.deserialize(Reader {
            value,
            path: path.clone(),
        })
        .map_err(|e| e.at(value, &path))
    }
}

/// The three entries that [`At`] asks for.
struct PlaceEntries<'a> {
    reader: Reader<'a>,
    next: usize,
}

impl<'a> MapAccess<'a> for PlaceEntries<'a> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        let Some(name) = AT_FIELDS.get(self.next) else {
            return Ok(None);
        };
        let text: de::value::StrDeserializer<'_, ReadError> = (*name).into_deserializer();
        seed.deserialize(text).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        self.next += 1;
        match self.next {
            1 => {
                let file: de::value::StrDeserializer<'_, ReadError> =
                    (&*self.reader.value.file).into_deserializer();
                seed.deserialize(file)
            }
            2 => {
                let line: de::value::U64Deserializer<ReadError> =
                    self.reader.value.mark.line.into_deserializer();
                seed.deserialize(line)
            }
            _ => seed.deserialize(self.reader.clone()),
        }
    }
}

/// A word, or a map of one word and what belongs to it.
struct Variant<'a> {
    name: &'a str,
    content: Option<Reader<'a>>,
}

impl<'a> EnumAccess<'a> for Variant<'a> {
    type Error = ReadError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'a>>(self, seed: V) -> Result<(V::Value, Self), ReadError> {
        let name: de::value::BorrowedStrDeserializer<'a, ReadError> =
            de::value::BorrowedStrDeserializer::new(self.name);
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'a> VariantAccess<'a> for Variant<'a> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        match self.content {
            None => Ok(()),
            Some(reader) => Err(<ReadError as de::Error>::custom(format!(
                "`{}` stands alone, without a value",
                self.name
            ))
            .at(reader.value, &reader.path)),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'a>>(self, seed: T) -> Result<T::Value, ReadError> {
        let name = self.name;
        let reader = self.content.ok_or_else(|| {
            <ReadError as de::Error>::custom(format!("`{name}` needs a value: `{{{name}: …}}`"))
        })?;
        let (value, path) = (reader.value, reader.path.clone());
        seed.deserialize(reader).map_err(|e| e.at(value, &path))
    }

    fn tuple_variant<V: Visitor<'a>>(self, _len: usize, visitor: V) -> Result<V::Value, ReadError> {
        self.struct_variant(&[], visitor)
    }

    fn struct_variant<V: Visitor<'a>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match self.content {
            Some(reader) => reader.deserialize_map(visitor),
            None => Err(de::Error::custom(format!("`{}` needs a map", self.name))),
        }
    }
}
