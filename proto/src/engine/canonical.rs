//! One form for every encoding of the same state, to compare documents by.
//!
//! Two replicas of one document may encode it differently: the keys of an object come in the order
//! of a hash map, and neighbours that one replica has joined into one struct are still two in
//! another. Here keys are sorted and whatever can be joined is joined, so that two states are equal
//! exactly when every clock of every client has the same place and content, and the same is deleted.
//!
//! Source of the layout: Yjs `structs/Item.js`, `utils/encoding.js` and lib0's `writeAny`. It reads
//! states that yrs has written, never a peer's bytes.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::admission::DeleteSet;
use crate::wire::DecodeError;
use crate::wire::lib0::{Reader, put_bytes, put_string, put_var_uint};
use crate::{ClientId, Clock};

const HAS_ORIGIN: u8 = 0b1000_0000;
const HAS_RIGHT_ORIGIN: u8 = 0b0100_0000;
const HAS_PARENT_SUB: u8 = 0b0010_0000;
const KIND: u8 = 0b0001_1111;

const GC: u8 = 0;
const DELETED: u8 = 1;
const JSON: u8 = 2;
const BINARY: u8 = 3;
const STRING: u8 = 4;
const EMBED: u8 = 5;
const FORMAT: u8 = 6;
const TYPE: u8 = 7;
const ANY: u8 = 8;
const DOCUMENT: u8 = 9;
const SKIP: u8 = 10;

/// Types that carry a name: XML elements and hooks.
const NAMED_TYPES: [u64; 2] = [3, 5];

/// lib0's tags of values that hold others, or bytes of a length.
const ANY_ARRAY: u8 = 117;
const ANY_OBJECT: u8 = 118;

type Id = (ClientId, Clock);

/// A state, free of the accidents of its encoding.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Canonical {
    clients: BTreeMap<ClientId, Vec<Piece>>,
    deleted: DeleteSet,
}

/// Structs of one client that follow each other in clock and place.
#[derive(Debug, PartialEq, Eq)]
struct Piece {
    clock: Clock,
    length: Clock,
    kind: u8,
    origin: Option<Id>,
    right_origin: Option<Id>,
    /// Parent and key, as written.
    place: Vec<u8>,
    content: Vec<u8>,
}

/// Reads a full v1 state.
pub(super) fn canonical(state: &Bytes) -> Result<Canonical, DecodeError> {
    let mut reader = Reader::new(state);
    let mut clients = BTreeMap::new();
    for _ in 0..reader.var_uint()? {
        let count = reader.var_uint()?;
        let client = reader.var_uint()?;
        let mut clock = clock(&mut reader)?;
        let pieces: &mut Vec<Piece> = clients.entry(client).or_default();
        for _ in 0..count {
            let piece = read_piece(&mut reader, clock)?;
            clock = clock.saturating_add(piece.length);
            push(pieces, client, piece);
        }
    }
    let mut deleted = DeleteSet::default();
    for _ in 0..reader.var_uint()? {
        let client = reader.var_uint()?;
        for _ in 0..reader.var_uint()? {
            let start = clock(&mut reader)?;
            let length = clock(&mut reader)?;
            deleted.insert(client, start, start.saturating_add(length));
        }
    }
    Ok(Canonical { clients, deleted })
}

/// Adds a piece, joined to the one before where both could be one struct.
fn push(pieces: &mut Vec<Piece>, client: ClientId, piece: Piece) {
    let Some(last) = pieces.last_mut() else {
        return pieces.push(piece);
    };
    let follows = last.kind == piece.kind && last.clock + last.length == piece.clock;
    let continues = piece.origin == Some((client, piece.clock.wrapping_sub(1)))
        && piece.right_origin == last.right_origin;
    let joins = match piece.kind {
        GC => follows,
        DELETED | STRING | ANY | JSON => follows && continues,
        _ => false,
    };
    if joins {
        last.length += piece.length;
        last.content.extend_from_slice(&piece.content);
    } else {
        pieces.push(piece);
    }
}

fn read_piece(reader: &mut Reader<'_>, clock: Clock) -> Result<Piece, DecodeError> {
    let info = reader.u8()?;
    let mut piece = Piece {
        clock,
        length: 1,
        kind: info & KIND,
        origin: None,
        right_origin: None,
        place: Vec::new(),
        content: Vec::new(),
    };
    if !matches!(piece.kind, GC | SKIP) {
        read_place(reader, info, &mut piece)?;
    }
    read_content(reader, &mut piece)?;
    Ok(piece)
}

fn read_place(reader: &mut Reader<'_>, info: u8, piece: &mut Piece) -> Result<(), DecodeError> {
    if info & HAS_ORIGIN != 0 {
        piece.origin = Some((reader.var_uint()?, self::clock(reader)?));
    }
    if info & HAS_RIGHT_ORIGIN != 0 {
        piece.right_origin = Some((reader.var_uint()?, self::clock(reader)?));
    }
    if info & (HAS_ORIGIN | HAS_RIGHT_ORIGIN) != 0 {
        return Ok(());
    }
    let start = reader.position();
    if reader.var_uint()? == 1 {
        reader.string()?;
    } else {
        reader.var_uint()?;
        reader.var_uint()?;
    }
    if info & HAS_PARENT_SUB != 0 {
        reader.string()?;
    }
    piece.place = reader.between(start, reader.position()).to_vec();
    Ok(())
}

/// Reads the length and the content of a struct.
fn read_content(reader: &mut Reader<'_>, piece: &mut Piece) -> Result<(), DecodeError> {
    let out = &mut piece.content;
    match piece.kind {
        GC | SKIP | DELETED => piece.length = clock(reader)?,
        JSON => {
            piece.length = clock(reader)?;
            for _ in 0..piece.length {
                put_json(out, reader.string()?);
            }
        }
        ANY => {
            piece.length = clock(reader)?;
            for _ in 0..piece.length {
                read_any(reader, out)?;
            }
        }
        STRING => {
            let text = reader.string()?;
            piece.length = Clock::try_from(text.encode_utf16().count())
                .map_err(|_| DecodeError::NumberTooLarge)?;
            out.extend_from_slice(text.as_bytes());
        }
        BINARY => put_bytes(out, reader.bytes()?),
        EMBED => put_json(out, reader.string()?),
        FORMAT => {
            put_string(out, reader.string()?);
            put_json(out, reader.string()?);
        }
        TYPE => {
            let kind = reader.var_uint()?;
            put_var_uint(out, kind);
            if NAMED_TYPES.contains(&kind) {
                put_string(out, reader.string()?);
            }
        }
        DOCUMENT => {
            put_string(out, reader.string()?);
            read_any(reader, out)?;
        }
        kind => return Err(DecodeError::UnknownType(u64::from(kind))),
    }
    Ok(())
}

/// Writes JSON with sorted keys; what is no JSON stays as it is.
fn put_json(out: &mut Vec<u8>, text: &str) {
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(value) => put_string(out, &value.to_string()),
        Err(_) => put_string(out, text),
    }
}

/// Copies a value, the keys of its objects sorted. Admission bounds how deep it nests.
fn read_any(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let start = reader.position();
    match reader.u8()? {
        ANY_ARRAY => {
            let count = reader.var_uint()?;
            out.push(ANY_ARRAY);
            put_var_uint(out, count);
            for _ in 0..count {
                read_any(reader, out)?;
            }
        }
        ANY_OBJECT => {
            let mut entries = BTreeMap::new();
            for _ in 0..reader.var_uint()? {
                let key = reader.string()?;
                let mut value = Vec::new();
                read_any(reader, &mut value)?;
                entries.insert(key, value);
            }
            out.push(ANY_OBJECT);
            put_var_uint(out, entries.len() as u64);
            for (key, value) in entries {
                put_string(out, key);
                out.extend_from_slice(&value);
            }
        }
        tag => {
            skip_scalar(reader, tag)?;
            out.extend_from_slice(reader.between(start, reader.position()));
        }
    }
    Ok(())
}

fn skip_scalar(reader: &mut Reader<'_>, tag: u8) -> Result<(), DecodeError> {
    match tag {
        116 | 119 => reader.bytes().map(|_| ()),
        120 | 121 | 126 | 127 => Ok(()),
        122 | 123 => reader.take(8).map(|_| ()),
        124 => reader.take(4).map(|_| ()),
        125 => reader.var_int().map(|_| ()),
        _ => Err(DecodeError::UnknownType(u64::from(tag))),
    }
}

fn clock(reader: &mut Reader<'_>) -> Result<Clock, DecodeError> {
    Clock::try_from(reader.var_uint()?).map_err(|_| DecodeError::NumberTooLarge)
}
