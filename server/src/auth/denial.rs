//! Why a peer may not use a document, in words that give nothing away.

/// Why the answer is no. The texts are for people; they hold neither the token nor whether the
/// document exists. All fit a WebSocket close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Denial {
    /// No token was shown.
    #[error("a token is needed here")]
    TokenMissing,
    /// The token is longer than [`super::TOKEN_BYTES_MAX`].
    #[error("the token is larger than 16 KiB")]
    TokenTooLarge,
    /// It is no token, or a claim has the wrong form.
    #[error("the token cannot be read, or a claim of it is missing (exp) or has the wrong form")]
    Malformed,
    /// It was signed with a key, or by an algorithm, that this server does not know.
    #[error("the token was signed with a key that is not known here")]
    UnknownKey,
    /// The signature is not that of the key.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` has not come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `aud` does not name this server.
    #[error("the token is meant for another audience")]
    WrongAudience,
    /// `iss` is not the issuer trusted here.
    #[error("the token comes from another issuer")]
    WrongIssuer,
    /// The token is good, but gives no right on this document.
    #[error("this is not allowed on this document")]
    NoRight,
    /// The application refused (401 or 403 of the authorization hook).
    #[error("the application does not allow this")]
    Refused,
    /// It was granted, and an operator took it back.
    #[error("access was withdrawn")]
    Withdrawn,
    /// It cannot be decided now; the same may succeed later.
    #[error("{0}")]
    Unavailable(Trouble),
}

/// Why nobody can decide now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Trouble {
    /// There are no keys, or too old ones, and the place they come from does not answer.
    #[error("tokens cannot be verified right now; try again")]
    Keys,
    /// The key is unknown, and keys were looked for so recently that they are not yet again.
    #[error("the token's key is not known yet; try again in some seconds")]
    KeysRecent,
    /// The authorization hook failed: unreachable, too slow, or not understood.
    #[error("the application cannot be asked right now; try again")]
    Hook,
    /// As many questions wait for the hook as may.
    #[error("too many questions wait for the application; try again")]
    HookBusy,
    /// The hook failed so often that it is left alone for a while.
    #[error("the application is not answering; try again in some seconds")]
    HookPaused,
}

impl Denial {
    /// Every denial, for tables.
    pub const ALL: [Self; 17] = [
        Self::TokenMissing,
        Self::TokenTooLarge,
        Self::Malformed,
        Self::UnknownKey,
        Self::BadSignature,
        Self::Expired,
        Self::NotYetValid,
        Self::WrongAudience,
        Self::WrongIssuer,
        Self::NoRight,
        Self::Refused,
        Self::Withdrawn,
        Self::Unavailable(Trouble::Keys),
        Self::Unavailable(Trouble::KeysRecent),
        Self::Unavailable(Trouble::Hook),
        Self::Unavailable(Trouble::HookBusy),
        Self::Unavailable(Trouble::HookPaused),
    ];

    /// A short word for metrics and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::TokenMissing => "token_missing",
            Self::TokenTooLarge => "token_too_large",
            Self::Malformed => "malformed",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::WrongAudience => "wrong_audience",
            Self::WrongIssuer => "wrong_issuer",
            Self::NoRight => "no_right",
            Self::Refused => "refused",
            Self::Withdrawn => "withdrawn",
            Self::Unavailable(Trouble::Keys) => "keys_unavailable",
            Self::Unavailable(Trouble::KeysRecent) => "keys_recent",
            Self::Unavailable(Trouble::Hook) => "hook_failed",
            Self::Unavailable(Trouble::HookBusy) => "hook_busy",
            Self::Unavailable(Trouble::HookPaused) => "hook_paused",
        }
    }

    /// True when the same question may be answered otherwise in a while.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_denial_has_a_label_of_its_own_and_fits_a_close_frame() {
        let labels: HashSet<_> = Denial::ALL.into_iter().map(Denial::label).collect();
        assert_eq!(labels.len(), Denial::ALL.len());
        for denial in Denial::ALL {
            assert!(denial.to_string().len() <= 123, "{denial}");
            assert_eq!(
                denial.is_retryable(),
                denial.to_string().contains("try again"),
                "{denial}"
            );
        }
    }
}
