//! Values that files hold as texts: read by serde through `FromStr`, described in the JSON Schema as texts.

/// Reads a type by its `FromStr` and describes it as a text with an example.
macro_rules! text_form {
    ($($type:ty, $name:literal, $about:literal;)*) => {$(
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $type;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($about)
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": ["string", "number"], "description": $about})
            }
        }
    )*};
}

text_form! {
    super::ByteSize, "Size", "a size such as `64MiB`";
    super::Hostname, "Hostname", "a host name";
    super::Network4, "Network", "a network with its prefix, such as `10.11.0.0/25`";
    super::Range4, "Range", "a range of addresses, such as `10.11.0.110-10.11.0.120`";
    super::MacAddr, "MacAddress", "an Ethernet address, such as `dc:a6:32:00:00:01`";
}
