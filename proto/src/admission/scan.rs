//! The structural scan of a v1 update: everything that can be checked without knowing the document.

use bytes::Bytes;

use super::structs::Struct;
use super::{Refusal, checks, content, deletes, subdocuments};
use crate::wire::lib0::Reader;
use crate::{ClientId, Clock};

/// The fewest bytes of a client's section: struct count, client, clock.
const SECTION_BYTES_MIN: usize = 3;
/// The fewest bytes of a struct: its info byte and its length.
const STRUCT_BYTES_MIN: usize = 2;

/// The structs of one client in an update.
#[derive(Debug, Clone, Copy)]
pub(super) struct Section {
    pub(super) client: ClientId,
    /// The number of structs, Skips included.
    pub(super) count: u32,
    /// The clock of the first struct.
    pub(super) clock: Clock,
    /// The first clock that is not a Skip's; `end_clock` when there is none.
    pub(super) first_clock: Clock,
    /// The clock behind the last struct that is no Skip.
    pub(super) end_clock: Clock,
    /// Where the first struct starts and the last one ends, in bytes.
    pub(super) start: u32,
    pub(super) end: u32,
}

/// A well-formed update.
#[derive(Debug)]
pub(super) struct Scan {
    /// One section a client, in descending order of clients.
    pub(super) sections: Vec<Section>,
    /// Where the delete set starts.
    pub(super) deletes: usize,
    /// Whether any struct is a Skip.
    pub(super) has_skips: bool,
    /// Whether any item has the content that older Yjs wrote as JSON texts.
    pub(super) has_json: bool,
    /// Whether any item has content that yrs must not see as it is.
    pub(super) has_subdocuments: bool,
}

/// Checks the structure of `update` and says where its parts are.
///
/// Takes time linear in the bytes, and memory by the number of clients that really are listed.
pub(super) fn scan(update: &Bytes, nesting_max: usize) -> Result<Scan, Refusal> {
    // Positions are kept in 32 bits.
    if u32::try_from(update.len()).is_err() {
        return Err(Refusal::TooLarge {
            bytes: update.len(),
            bytes_max: u32::MAX as usize,
        });
    }
    let mut reader = Reader::new(update);
    let count = checks::count(&mut reader, SECTION_BYTES_MIN)?;
    let mut scan = Scan {
        sections: Vec::new(),
        deletes: 0,
        has_skips: false,
        has_json: false,
        has_subdocuments: false,
    };
    for _ in 0..count {
        let section = scan.read_section(update, &mut reader, nesting_max)?;
        scan.sections.push(section);
    }
    scan.deletes = reader.position();
    deletes::read(&mut reader, |_, _| {})?;
    if !scan
        .sections
        .is_sorted_by(|left, right| left.client > right.client)
    {
        let by_client = |section: &Section| std::cmp::Reverse(section.client);
        scan.sections.sort_by_key(by_client);
        if !scan
            .sections
            .is_sorted_by(|left, right| left.client > right.client)
        {
            return Err(Refusal::DuplicateClient);
        }
    }
    Ok(scan)
}

impl Scan {
    fn read_section(
        &mut self,
        update: &[u8],
        reader: &mut Reader<'_>,
        nesting_max: usize,
    ) -> Result<Section, Refusal> {
        let count = reader.var_uint()?;
        let client = checks::client(reader)?;
        let clock = checks::clock(reader)?;
        if count > (reader.remaining() / STRUCT_BYTES_MIN) as u64 {
            return Err(Refusal::CountTooLarge);
        }
        let mut section = Section {
            client,
            count: count as u32,
            clock,
            first_clock: Clock::MAX,
            end_clock: clock,
            start: reader.position() as u32,
            end: 0,
        };
        let mut at = clock;
        for _ in 0..count {
            let read = Struct::read(reader, at, nesting_max)?;
            at = read.end_clock();
            if read.is_skip() {
                self.has_skips = true;
                continue;
            }
            self.has_json |= read.kind == content::JSON;
            self.has_subdocuments |= subdocuments::must_hide(&read, update);
            section.first_clock = section.first_clock.min(read.clock);
            section.end_clock = at;
        }
        section.first_clock = section.first_clock.min(section.end_clock);
        section.end = reader.position() as u32;
        Ok(section)
    }
}
