//! Performs a command on whoever holds the documents; the same on both sides of the socket.

use std::path::Path;

use bytes::Bytes;
use driftless_proto::name::DocumentName;

use super::access::wire::{AccessCommand, AccessReply};
use super::access::{AccessOperations, Operations};
use super::command::{Command, LIST_LIMIT_MAX, Reply};
use super::live::OPERATOR;
use super::operations::OperationError;
use crate::store::Origin;

/// Performs `command` with its payload; the reply comes with a payload of its own, mostly empty.
pub async fn execute(
    operations: &Operations,
    command: Command,
    payload: Bytes,
) -> Result<(Reply, Bytes), OperationError> {
    let access = &*operations.access;
    let operations = &*operations.documents;
    let reply = match command {
        Command::List {
            prefix,
            after,
            limit,
        } => {
            let after = after.as_deref().map(named).transpose()?;
            let limit = limit.clamp(1, LIST_LIMIT_MAX);
            let listed = operations.list(&prefix, after.as_ref(), limit).await?;
            let documents = listed.into_iter().map(Into::into).collect();
            Reply::List { documents }
        }
        Command::Show { document } => operations.show(&named(&document)?).await?.into(),
        Command::Export { document } => {
            let state = operations.export_state(&named(&document)?).await?;
            return Ok((Reply::Export {}, state));
        }
        Command::Import { document } => {
            let origin = Origin {
                identity: None,
                door: "admin import".into(),
            };
            let document = named(&document)?;
            let imported = operations.import_update(&document, payload, origin, OPERATOR);
            imported.await?.into()
        }
        Command::Delete { document } => {
            let epoch = operations.delete(&named(&document)?).await?;
            Reply::Delete { epoch }
        }
        Command::Verify { document } => {
            let document = document.as_deref().map(named).transpose()?;
            operations.verify(document.as_ref()).await?.into()
        }
        Command::Repair { document } => operations.repair(&named(&document)?).await?.into(),
        Command::Release { document } => {
            operations.release(&named(&document)?).await?;
            Reply::Release {}
        }
        Command::Access(command) => Reply::Access(about_access(access, command).await?),
        #[cfg(feature = "fault-injection")]
        Command::Harm { document, stall_ms } => {
            operations.harm(&named(&document)?, stall_ms).await?;
            Reply::Harm {}
        }
        Command::Backup { file } => {
            let bytes = operations.backup(absolute(&file)?).await?;
            Reply::Backup { bytes }
        }
    };
    Ok((reply, Bytes::new()))
}

async fn about_access(
    operations: &dyn AccessOperations,
    command: AccessCommand,
) -> Result<AccessReply, OperationError> {
    Ok(match command {
        AccessCommand::Sessions { whom } => {
            AccessReply::Sessions(operations.sessions(&whom.into()).await?.into())
        }
        AccessCommand::EndSessions { whom } => {
            AccessReply::EndSessions(operations.end_sessions(&whom.into()).await?.into())
        }
        AccessCommand::CheckSessions { whom } => {
            AccessReply::CheckSessions(operations.check_sessions(&whom.into()).await?.into())
        }
        AccessCommand::Restrict { wanted } => {
            let (restriction, effect) = operations.restrict(wanted.try_into()?).await?;
            AccessReply::Restrict {
                restriction: restriction.into(),
                reached: effect.into(),
            }
        }
        AccessCommand::List { after, limit } => {
            let limit = limit.clamp(1, LIST_LIMIT_MAX) as usize;
            let listed = operations.restrictions(after.as_deref(), limit).await?;
            let restrictions = listed.into_iter().map(Into::into).collect();
            AccessReply::List { restrictions }
        }
        AccessCommand::Lift { id } => AccessReply::Lift(operations.lift(&id).await?.into()),
    })
}

fn named(name: &str) -> Result<DocumentName, OperationError> {
    DocumentName::new(name).map_err(|error| OperationError::Refused(error.to_string()))
}

/// The server's working directory is not the caller's, so a relative path would surprise.
fn absolute(file: &str) -> Result<&Path, OperationError> {
    let path = Path::new(file);
    if path.is_absolute() {
        return Ok(path);
    }
    Err(OperationError::Refused(
        "the path of a backup must be absolute".into(),
    ))
}
