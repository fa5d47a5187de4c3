//! Which uses of documents are meant: by document, by identity, by token.

use crate::auth::claims::IDENTITY_BYTES_MAX;
use crate::auth::pattern::matches;

/// The longest pattern of document names: that of a name.
pub const PATTERN_BYTES_MAX: usize = 512;

/// Somebody's use of a document.
#[derive(Debug, Clone, Copy)]
pub struct Visitor<'a> {
    /// The document's name.
    pub document: &'a str,
    /// The verified identity, if there is one.
    pub subject: Option<&'a str>,
    /// The id of its token, if it has one.
    pub token_id: Option<&'a str>,
    /// When its token was issued, in milliseconds since 1970, if it says so.
    pub issued_at_ms: Option<u64>,
}

/// A choice of uses: all that is given has to fit, what is not given fits always.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// A pattern of document names; a star stands for any run of characters, slashes included.
    pub document: Option<String>,
    /// An identity.
    pub subject: Option<String>,
    /// The id of a token.
    pub token_id: Option<String>,
}

/// Why something chooses nothing, or nothing that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// It would mean everybody.
    #[error("say whom it concerns: a document, a subject or a token id")]
    Everybody,
    /// A part has a length that nothing has.
    #[error(
        "a document pattern has 1 to {PATTERN_BYTES_MAX} bytes, a subject or token id 1 to \
         {IDENTITY_BYTES_MAX}"
    )]
    Length,
}

impl Selection {
    /// Refuses what names nobody in particular, and what can fit nobody.
    pub fn check(&self) -> Result<(), SelectionError> {
        if *self == Self::default() {
            return Err(SelectionError::Everybody);
        }
        self.check_lengths()
    }

    /// Refuses what can fit nobody.
    pub fn check_lengths(&self) -> Result<(), SelectionError> {
        let fits = |part: &Option<String>, bytes_max| {
            part.as_ref()
                .is_none_or(|text| (1..=bytes_max).contains(&text.len()))
        };
        let all_fit = fits(&self.document, PATTERN_BYTES_MAX)
            && fits(&self.subject, IDENTITY_BYTES_MAX)
            && fits(&self.token_id, IDENTITY_BYTES_MAX);
        match all_fit {
            true => Ok(()),
            false => Err(SelectionError::Length),
        }
    }

    /// Whether it means this visitor.
    pub fn covers(&self, visitor: &Visitor<'_>) -> bool {
        let is_same = |wanted: &Option<String>, found: Option<&str>| {
            wanted.is_none() || wanted.as_deref() == found
        };
        is_same(&self.subject, visitor.subject)
            && is_same(&self.token_id, visitor.token_id)
            && self
                .document
                .as_ref()
                .is_none_or(|pattern| matches(pattern, visitor.document))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(parts: [Option<&str>; 3]) -> Selection {
        let [document, subject, token_id] = parts.map(|part| part.map(str::to_owned));
        Selection {
            document,
            subject,
            token_id,
        }
    }

    #[test]
    fn all_that_is_given_has_to_fit() {
        let ada = Visitor {
            document: "team/plan",
            subject: Some("ada"),
            token_id: Some("t1"),
            issued_at_ms: None,
        };
        let nobody = Visitor {
            subject: None,
            token_id: None,
            ..ada
        };
        let table = [
            ([None, None, None], true, true),
            ([Some("team/plan"), None, None], true, true),
            ([Some("team/*"), None, None], true, true),
            ([Some("*"), None, None], true, true),
            ([Some("*/pl*n"), None, None], true, true),
            ([Some("team"), None, None], false, false),
            ([Some("team/plan*x"), None, None], false, false),
            ([None, Some("ada"), None], true, false),
            ([None, Some("Ada"), None], false, false),
            ([None, None, Some("t1")], true, false),
            ([None, None, Some("t2")], false, false),
            ([Some("team/*"), Some("ada"), Some("t1")], true, false),
            ([Some("team/*"), Some("ada"), Some("t2")], false, false),
            ([Some("other/*"), Some("ada"), None], false, false),
        ];
        for (parts, ada_fits, nobody_fits) in table {
            let selection = selection(parts);
            assert_eq!(selection.covers(&ada), ada_fits, "{parts:?}");
            assert_eq!(selection.covers(&nobody), nobody_fits, "{parts:?}");
        }
    }

    #[test]
    fn what_names_nobody_is_refused() {
        let long = "x".repeat(IDENTITY_BYTES_MAX + 1);
        let table = [
            ([None, None, None], Err(SelectionError::Everybody)),
            ([Some(""), None, None], Err(SelectionError::Length)),
            (
                [None, Some(long.as_str()), None],
                Err(SelectionError::Length),
            ),
            ([None, None, Some("")], Err(SelectionError::Length)),
            ([Some(long.as_str()), None, None], Ok(())),
            ([None, Some("ada"), None], Ok(())),
        ];
        for (parts, wanted) in table {
            assert_eq!(selection(parts).check(), wanted, "{parts:?}");
        }
    }
}
