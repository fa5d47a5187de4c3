//! A v1 update taken apart, so that mutations hit structs and ids instead of single bytes.

use driftless_proto::wire::DecodeError;
use driftless_proto::wire::lib0::{Reader, put_bytes, put_string, put_var_uint};

/// A client and a clock.
pub type Id = (u64, u32);

/// An update as a tree; what it encodes to need not be well-formed.
#[derive(Debug, Clone, Default)]
pub struct UpdateModel {
    /// The structs of each client.
    pub sections: Vec<SectionModel>,
    /// Deleted ranges of each client: start and length.
    pub deletes: Vec<(u64, Vec<(u32, u32)>)>,
}

/// The structs of one client.
#[derive(Debug, Clone)]
pub struct SectionModel {
    /// The client.
    pub client: u64,
    /// The clock of the first struct.
    pub clock: u32,
    /// The structs.
    pub structs: Vec<StructModel>,
}

/// One struct.
#[derive(Debug, Clone)]
pub enum StructModel {
    /// Collected content of this length.
    Gc(u32),
    /// Absent clocks of this length.
    Skip(u32),
    /// An item.
    Item(ItemModel),
}

/// An item and its place.
#[derive(Debug, Clone)]
pub struct ItemModel {
    /// The left neighbour.
    pub origin: Option<Id>,
    /// The right neighbour.
    pub right: Option<Id>,
    /// The parent, written when there is no neighbour.
    pub parent: ParentModel,
    /// The key, written when there is no neighbour.
    pub key: Option<String>,
    /// What it holds.
    pub content: Content,
}

/// The parent of an item.
#[derive(Debug, Clone)]
pub enum ParentModel {
    /// A root type.
    Root(String),
    /// The type that is the content of an id.
    Nested(Id),
}

/// What an item holds.
#[derive(Debug, Clone)]
pub enum Content {
    /// Deleted content of this length.
    Deleted(u32),
    /// JSON texts, as Yjs wrote them before 13.
    Json(Vec<String>),
    /// Bytes.
    Binary(Vec<u8>),
    /// Text.
    Text(String),
    /// An embedded value as JSON.
    Embed(String),
    /// A format's key and its value as JSON.
    Format(String, String),
    /// A shared type, and its name if it is an XML element.
    Type(u8, Option<String>),
    /// Encoded lib0 values.
    Any(Vec<Vec<u8>>),
    /// A subdocument's id and its encoded options.
    Subdocument(String, Vec<u8>),
}

impl Content {
    /// The length in clocks.
    pub fn length(&self) -> u32 {
        match self {
            Self::Deleted(length) => *length,
            Self::Json(texts) => texts.len() as u32,
            Self::Text(text) => text.encode_utf16().count() as u32,
            Self::Any(values) => values.len() as u32,
            _ => 1,
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Deleted(_) => 1,
            Self::Json(_) => 2,
            Self::Binary(_) => 3,
            Self::Text(_) => 4,
            Self::Embed(_) => 5,
            Self::Format(..) => 6,
            Self::Type(..) => 7,
            Self::Any(_) => 8,
            Self::Subdocument(..) => 9,
        }
    }
}

impl StructModel {
    /// The length in clocks.
    pub fn length(&self) -> u32 {
        match self {
            Self::Gc(length) | Self::Skip(length) => *length,
            Self::Item(item) => item.content.length(),
        }
    }
}

impl UpdateModel {
    /// Takes a well-formed update apart.
    pub fn decode(update: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(update);
        let mut model = Self::default();
        for _ in 0..reader.var_uint()? {
            let count = reader.var_uint()?;
            let mut section = SectionModel {
                client: reader.var_uint()?,
                clock: reader.var_uint()? as u32,
                structs: Vec::new(),
            };
            for _ in 0..count {
                section.structs.push(read_struct(&mut reader)?);
            }
            model.sections.push(section);
        }
        for _ in 0..reader.var_uint()? {
            let client = reader.var_uint()?;
            let mut ranges = Vec::new();
            for _ in 0..reader.var_uint()? {
                ranges.push((reader.var_uint()? as u32, reader.var_uint()? as u32));
            }
            model.deletes.push((client, ranges));
        }
        Ok(model)
    }

    /// Puts the update together again.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_var_uint(&mut out, self.sections.len() as u64);
        for section in &self.sections {
            put_var_uint(&mut out, section.structs.len() as u64);
            put_var_uint(&mut out, section.client);
            put_var_uint(&mut out, u64::from(section.clock));
            for model in &section.structs {
                put_struct(&mut out, model);
            }
        }
        put_var_uint(&mut out, self.deletes.len() as u64);
        for (client, ranges) in &self.deletes {
            put_var_uint(&mut out, *client);
            put_var_uint(&mut out, ranges.len() as u64);
            for (start, length) in ranges {
                put_var_uint(&mut out, u64::from(*start));
                put_var_uint(&mut out, u64::from(*length));
            }
        }
        out
    }
}

fn read_struct(reader: &mut Reader<'_>) -> Result<StructModel, DecodeError> {
    let info = reader.u8()?;
    match info & 0x1f {
        0 => return Ok(StructModel::Gc(reader.var_uint()? as u32)),
        10 => return Ok(StructModel::Skip(reader.var_uint()? as u32)),
        _ => {}
    }
    let id = |reader: &mut Reader<'_>| Ok((reader.var_uint()?, reader.var_uint()? as u32));
    let mut item = ItemModel {
        origin: None,
        right: None,
        parent: ParentModel::Root("text".to_owned()),
        key: None,
        content: Content::Deleted(1),
    };
    if info & 0x80 != 0 {
        item.origin = Some(id(reader)?);
    }
    if info & 0x40 != 0 {
        item.right = Some(id(reader)?);
    }
    if info & 0xc0 == 0 {
        item.parent = match reader.var_uint()? {
            1 => ParentModel::Root(reader.string()?.to_owned()),
            _ => ParentModel::Nested(id(reader)?),
        };
        if info & 0x20 != 0 {
            item.key = Some(reader.string()?.to_owned());
        }
    }
    item.content = read_content(reader, info & 0x1f)?;
    Ok(StructModel::Item(item))
}

fn read_content(reader: &mut Reader<'_>, kind: u8) -> Result<Content, DecodeError> {
    Ok(match kind {
        1 => Content::Deleted(reader.var_uint()? as u32),
        2 => {
            let mut texts = Vec::new();
            for _ in 0..reader.var_uint()? {
                texts.push(reader.string()?.to_owned());
            }
            Content::Json(texts)
        }
        3 => Content::Binary(reader.bytes()?.to_vec()),
        4 => Content::Text(reader.string()?.to_owned()),
        5 => Content::Embed(reader.string()?.to_owned()),
        6 => Content::Format(reader.string()?.to_owned(), reader.string()?.to_owned()),
        7 => match reader.u8()? {
            named @ (3 | 5) => Content::Type(named, Some(reader.string()?.to_owned())),
            plain => Content::Type(plain, None),
        },
        8 => {
            let mut values = Vec::new();
            for _ in 0..reader.var_uint()? {
                values.push(read_any(reader)?);
            }
            Content::Any(values)
        }
        9 => Content::Subdocument(reader.string()?.to_owned(), read_any(reader)?),
        unknown => return Err(DecodeError::UnknownType(u64::from(unknown))),
    })
}

/// The bytes of one lib0 value; by recursion, since only well-formed updates are taken apart.
fn read_any(reader: &mut Reader<'_>) -> Result<Vec<u8>, DecodeError> {
    let start = reader.position();
    match reader.u8()? {
        125 => reader.var_int().map(drop)?,
        124 => reader.take(4).map(drop)?,
        122 | 123 => reader.take(8).map(drop)?,
        116 | 119 => reader.bytes().map(drop)?,
        118 => {
            for _ in 0..reader.var_uint()? {
                reader.bytes()?;
                read_any(reader)?;
            }
        }
        117 => {
            for _ in 0..reader.var_uint()? {
                read_any(reader)?;
            }
        }
        _ => {}
    }
    Ok(reader.between(start, reader.position()).to_vec())
}

fn put_struct(out: &mut Vec<u8>, model: &StructModel) {
    let item = match model {
        StructModel::Gc(length) => {
            out.push(0);
            return put_var_uint(out, u64::from(*length));
        }
        StructModel::Skip(length) => {
            out.push(10);
            return put_var_uint(out, u64::from(*length));
        }
        StructModel::Item(item) => item,
    };
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    out.push(
        item.content.kind()
            | flag(item.origin.is_some(), 0x80)
            | flag(item.right.is_some(), 0x40)
            | flag(item.key.is_some(), 0x20),
    );
    let id = |out: &mut Vec<u8>, id: Id| {
        put_var_uint(out, id.0);
        put_var_uint(out, u64::from(id.1));
    };
    for neighbour in [item.origin, item.right].into_iter().flatten() {
        id(out, neighbour);
    }
    if item.origin.is_none() && item.right.is_none() {
        match &item.parent {
            ParentModel::Root(name) => {
                out.push(1);
                put_string(out, name);
            }
            ParentModel::Nested(parent) => {
                out.push(0);
                id(out, *parent);
            }
        }
        if let Some(key) = &item.key {
            put_string(out, key);
        }
    }
    put_content(out, &item.content);
}

fn put_content(out: &mut Vec<u8>, content: &Content) {
    match content {
        Content::Deleted(length) => put_var_uint(out, u64::from(*length)),
        Content::Json(texts) => {
            put_var_uint(out, texts.len() as u64);
            texts.iter().for_each(|text| put_string(out, text));
        }
        Content::Binary(bytes) => put_bytes(out, bytes),
        Content::Text(text) | Content::Embed(text) => put_string(out, text),
        Content::Format(key, value) => {
            put_string(out, key);
            put_string(out, value);
        }
        Content::Type(kind, name) => {
            out.push(*kind);
            name.iter().for_each(|name| put_string(out, name));
        }
        Content::Any(values) => {
            put_var_uint(out, values.len() as u64);
            values.iter().for_each(|value| out.extend_from_slice(value));
        }
        Content::Subdocument(guid, options) => {
            put_string(out, guid);
            out.extend_from_slice(options);
        }
    }
}
