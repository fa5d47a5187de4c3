//! One struct of a v1 update: what it is, what it needs, and how its tail is written.
//!
//! Source: Yjs `utils/encoding.js` and `structs/Item.js`, yrs `update.rs`.

use super::content::{ANY, DELETED, GC, SKIP, STRING, TYPE};
use super::{Refusal, checks, content};
use crate::wire::DecodeError;
use crate::wire::lib0::{Reader, put_string, put_var_uint};
use crate::{ClientId, Clock};

const HAS_ORIGIN: u8 = 0b1000_0000;
const HAS_RIGHT_ORIGIN: u8 = 0b0100_0000;
const HAS_PARENT_SUB: u8 = 0b0010_0000;
const KIND: u8 = 0b0001_1111;

/// The character that stands for half a surrogate pair, in Yjs and yrs alike.
const REPLACEMENT: &str = "\u{fffd}";

/// The id of one clock of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id {
    pub(super) client: ClientId,
    pub(super) clock: Clock,
}

/// How an item says where it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parent<'a> {
    /// It has a neighbour, and lives where that one lives.
    Inherited,
    /// In the root type of this name.
    Root(&'a str),
    /// In the type that is the content of this id.
    Nested(Id),
}

/// A struct as it stands in the bytes of an update.
#[derive(Debug, Clone, Copy)]
pub(super) struct Struct<'a> {
    /// One of the kinds of [`content`].
    pub(super) kind: u8,
    info: u8,
    /// The first clock.
    pub(super) clock: Clock,
    /// The number of clocks; never 0.
    pub(super) length: Clock,
    pub(super) origin: Option<Id>,
    pub(super) right_origin: Option<Id>,
    pub(super) parent: Parent<'a>,
    /// The byte positions of the struct and of its content.
    pub(super) start: usize,
    content: usize,
    pub(super) end: usize,
}

impl<'a> Struct<'a> {
    /// Reads the struct that starts at `clock`.
    pub(super) fn read(
        reader: &mut Reader<'a>,
        clock: Clock,
        nesting_max: usize,
    ) -> Result<Self, Refusal> {
        let start = reader.position();
        let info = reader.u8()?;
        let kind = info & KIND;
        let mut read = Self {
            kind,
            info,
            clock,
            length: 0,
            origin: None,
            right_origin: None,
            parent: Parent::Inherited,
            start,
            content: 0,
            end: 0,
        };
        if matches!(kind, GC | SKIP) {
            if info != kind {
                return Err(Refusal::UnknownKind);
            }
            read.content = reader.position();
            read.length = checks::length(reader)?;
        } else {
            read.read_place(reader)?;
            read.content = reader.position();
            read.length = content::skip(reader, kind, nesting_max)?;
        }
        checks::end(clock, read.length)?;
        read.end = reader.position();
        Ok(read)
    }

    fn read_place(&mut self, reader: &mut Reader<'a>) -> Result<(), Refusal> {
        if self.info & HAS_ORIGIN != 0 {
            self.origin = Some(read_id(reader)?);
        }
        if self.info & HAS_RIGHT_ORIGIN != 0 {
            self.right_origin = Some(read_id(reader)?);
        }
        if self.info & (HAS_ORIGIN | HAS_RIGHT_ORIGIN) != 0 {
            return Ok(());
        }
        self.parent = match reader.var_uint()? {
            0 => Parent::Nested(read_id(reader)?),
            1 => Parent::Root(reader.string()?),
            _ => return Err(Refusal::UnknownKind),
        };
        if self.info & HAS_PARENT_SUB != 0 {
            reader.string()?;
        }
        Ok(())
    }

    /// The first clock behind the struct.
    pub(super) fn end_clock(&self) -> Clock {
        self.clock + self.length
    }

    /// Whether this stands for clocks that are not in the update.
    pub(super) fn is_skip(&self) -> bool {
        self.kind == SKIP
    }

    /// Whether this is a piece of text.
    pub(super) fn is_text(&self) -> bool {
        self.kind == STRING
    }

    /// Whether this is a type that other items can live in.
    pub(super) fn is_type(&self) -> bool {
        self.kind == TYPE
    }

    /// Whether the content is gone, and perhaps was a type.
    pub(super) fn is_deleted(&self) -> bool {
        matches!(self.kind, GC | DELETED)
    }

    /// Whether the item is the value of a key, as far as the struct itself tells.
    pub(super) fn has_key(&self) -> bool {
        self.info & HAS_PARENT_SUB != 0
    }

    /// Writes the struct without its first `offset` clocks, as Yjs `Item.write(encoder, offset)` does.
    ///
    /// `update` is the update the struct was read from, `client` its client. An offset of 0 copies.
    pub(super) fn write_tail(
        &self,
        update: &[u8],
        client: ClientId,
        offset: Clock,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let whole = update
            .get(self.start..self.end)
            .ok_or(DecodeError::Truncated)?;
        if offset == 0 {
            out.extend_from_slice(whole);
            return Ok(());
        }
        if self.kind == GC {
            out.push(GC);
            put_var_uint(out, u64::from(self.length - offset));
            return Ok(());
        }
        out.push(self.info | HAS_ORIGIN);
        put_id(
            out,
            Id {
                client,
                clock: self.clock + offset - 1,
            },
        );
        if let Some(right_origin) = self.right_origin {
            put_id(out, right_origin);
        }
        let mut reader = Reader::at(update, self.content);
        match self.kind {
            DELETED => put_var_uint(out, u64::from(self.length - offset)),
            STRING => put_tail(out, reader.string()?, offset as usize),
            ANY => {
                reader.var_uint()?;
                for _ in 0..offset {
                    // The depth was checked when the struct was read.
                    content::skip_any(&mut reader, usize::MAX)?;
                }
                put_var_uint(out, u64::from(self.length - offset));
                out.extend_from_slice(reader.between(reader.position(), self.end));
            }
            // Everything else has one clock and so no tail.
            _ => return Err(Refusal::UnknownKind),
        }
        Ok(())
    }

    /// The bytes of the content; `None` if this is not of `update`.
    pub(super) fn content<'u>(&self, update: &'u [u8]) -> Option<&'u [u8]> {
        update.get(self.content..self.end)
    }

    /// The length prefix of a text or of values, and the bytes behind it; `None` for other content.
    pub(super) fn payload(&self, update: &'a [u8]) -> Result<Option<(u64, &'a [u8])>, Refusal> {
        if !matches!(self.kind, STRING | ANY) {
            return Ok(None);
        }
        let mut reader = Reader::at(update, self.content);
        let length = reader.var_uint()?;
        let payload = reader.between(reader.position(), self.end);
        Ok(Some((length, payload)))
    }

    /// Writes the struct with other content of kind `kind`, which `put_content` appends.
    pub(super) fn write_with_content(
        &self,
        update: &[u8],
        kind: u8,
        out: &mut Vec<u8>,
        put_content: impl FnOnce(&mut Reader<'_>, &mut Vec<u8>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        out.push((self.info & !KIND) | kind);
        let place = update
            .get(self.start + 1..self.content)
            .ok_or(DecodeError::Truncated)?;
        out.extend_from_slice(place);
        put_content(&mut Reader::at(update, self.content), out)
    }
}

fn read_id(reader: &mut Reader<'_>) -> Result<Id, Refusal> {
    let client = checks::client(reader)?;
    let clock = checks::clock(reader)?;
    // The id of a struct is below the end of its range, which is at most 2^31.
    checks::end(clock, 1)?;
    Ok(Id { client, clock })
}

fn put_id(out: &mut Vec<u8>, id: Id) {
    put_var_uint(out, id.client);
    put_var_uint(out, u64::from(id.clock));
}

/// Writes `text` without its first `offset` UTF-16 units; half a pair becomes the replacement character.
fn put_tail(out: &mut Vec<u8>, text: &str, offset: usize) {
    let mut units = 0;
    let mut at = text.len();
    for (position, character) in text.char_indices() {
        if units >= offset {
            at = position;
            break;
        }
        units += character.len_utf16();
        if units > offset {
            let rest = &text[position + character.len_utf8()..];
            put_var_uint(out, (REPLACEMENT.len() + rest.len()) as u64);
            out.extend_from_slice(REPLACEMENT.as_bytes());
            out.extend_from_slice(rest.as_bytes());
            return;
        }
    }
    put_string(out, &text[at..]);
}
