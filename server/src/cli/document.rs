//! `driftless doc …`, `backup` and `restore`.

use std::io::Write;
use std::path::Path;

use bytes::Bytes;
use driftless_proto::engine::export;

use super::arguments::{DocumentCommand, ExportFormat};
use super::target::{Target, run};
use super::{
    Context, EXIT_DAMAGED, EXIT_FAILED, EXIT_NOT_FOUND, EXIT_REFUSED, EXIT_USAGE, Failure, files,
    print,
};
use crate::admin::command::{LIST_LIMIT_MAX, Summary};
use crate::admin::{Command, OperationError, Reply};
use crate::config::Settings;
use crate::store::data_folder::DataFolder;
use crate::store::sqlite;

/// Performs one command on documents and prints what came of it.
pub(super) fn perform(
    command: DocumentCommand,
    settings: &Settings,
    json: bool,
    context: &mut Context<'_>,
) -> Result<(), Failure> {
    let nothing = Bytes::new;
    match command {
        DocumentCommand::List { prefix } => list(prefix, settings, json, context.output),
        DocumentCommand::Export {
            name,
            format,
            root,
            output: file,
        } => {
            let wanted = Export {
                name,
                format,
                root,
                file,
            };
            wanted.perform(settings, json, context)
        }
        DocumentCommand::Import { name, file } => {
            let update = files::read(&file, context.input, settings.frame_bytes_max)?;
            let command = Command::Import { document: name };
            tell(command, update, settings, json, context.output)
        }
        DocumentCommand::Verify { name } => verify(name, settings, json, context.output),
        DocumentCommand::Show { name } => {
            let command = Command::Show { document: name };
            tell(command, nothing(), settings, json, context.output)
        }
        DocumentCommand::Delete { name } => {
            let command = Command::Delete { document: name };
            tell(command, nothing(), settings, json, context.output)
        }
        DocumentCommand::Repair { name } => {
            let command = Command::Repair { document: name };
            tell(command, nothing(), settings, json, context.output)
        }
        DocumentCommand::Release { name } => {
            let command = Command::Release { document: name };
            tell(command, nothing(), settings, json, context.output)
        }
        #[cfg(feature = "fault-injection")]
        DocumentCommand::Harm { name, stall_ms } => {
            let document = name;
            let command = Command::Harm { document, stall_ms };
            tell(command, nothing(), settings, json, context.output)
        }
    }
}

/// Copies all documents into one new file.
pub(super) fn backup(
    file: &Path,
    settings: &Settings,
    json: bool,
    output: &mut dyn Write,
) -> Result<(), Failure> {
    let file = std::path::absolute(file).map_err(|error| Failure::new(EXIT_FAILED, error))?;
    if file.exists() {
        let told = format!(
            "{} exists; a backup never overwrites a file",
            file.display()
        );
        return Err(Failure::new(EXIT_REFUSED, told));
    }
    let Some(file) = file.to_str().map(str::to_owned) else {
        let told = "the path of a backup must be valid UTF-8";
        return Err(Failure::new(EXIT_USAGE, told));
    };
    tell(
        Command::Backup { file },
        Bytes::new(),
        settings,
        json,
        output,
    )
}

/// Fills a new data folder from a backup.
pub(super) fn restore(
    file: &Path,
    settings: &Settings,
    json: bool,
    output: &mut dyn Write,
) -> Result<(), Failure> {
    if !file.exists() {
        let told = format!("{} does not exist", file.display());
        return Err(Failure::new(EXIT_NOT_FOUND, told));
    }
    let folder = DataFolder::open(&settings.data).map_err(OperationError::from)?;
    run(async {
        Ok(sqlite::restore(file, &folder)
            .await
            .map_err(OperationError::from)?)
    })?;
    let data = settings.data.display().to_string();
    if json {
        return print::json(&serde_json::json!({ "data": data }), output);
    }
    let text = format!("restored to {data}; start the server with --data {data}\n");
    files::print(text.as_bytes(), output)
}

/// Performs one command on whoever holds the documents.
pub(super) fn ask(
    command: Command,
    payload: Bytes,
    settings: &Settings,
) -> Result<(Reply, Bytes), Failure> {
    run(async {
        let target = Target::open(settings).await?;
        let outcome = target.perform(command, payload).await;
        target.close().await?;
        outcome
    })
}

fn tell(
    command: Command,
    payload: Bytes,
    settings: &Settings,
    json: bool,
    output: &mut dyn Write,
) -> Result<(), Failure> {
    let (reply, _) = ask(command, payload, settings)?;
    print::reply(&reply, json, output)
}

/// Collects all pages, so that the JSON is one list.
fn list(
    prefix: String,
    settings: &Settings,
    json: bool,
    output: &mut dyn Write,
) -> Result<(), Failure> {
    let documents = run(async {
        let target = Target::open(settings).await?;
        let mut documents: Vec<Summary> = Vec::new();
        loop {
            let command = Command::List {
                prefix: prefix.clone(),
                after: documents.last().map(|last| last.document.clone()),
                limit: LIST_LIMIT_MAX,
            };
            match target.perform(command, Bytes::new()).await? {
                (Reply::List { documents: page }, _) if !page.is_empty() => documents.extend(page),
                _ => break,
            }
        }
        target.close().await?;
        Ok(documents)
    })?;
    print::reply(&Reply::List { documents }, json, output)
}

fn verify(
    document: Option<String>,
    settings: &Settings,
    json: bool,
    output: &mut dyn Write,
) -> Result<(), Failure> {
    let (reply, _) = ask(Command::Verify { document }, Bytes::new(), settings)?;
    print::reply(&reply, json, output)?;
    match reply {
        Reply::Verify(verified) if verified.damaged > 0 => {
            let told = "stored data is damaged; see `driftless doc repair --help`";
            Err(Failure::new(EXIT_DAMAGED, told))
        }
        _ => Ok(()),
    }
}

/// An export that was asked for.
struct Export {
    name: String,
    format: ExportFormat,
    root: Option<String>,
    file: Option<std::path::PathBuf>,
}

impl Export {
    fn perform(
        self,
        settings: &Settings,
        json: bool,
        context: &mut Context<'_>,
    ) -> Result<(), Failure> {
        if self.root.is_some() && self.format != ExportFormat::Text {
            let told = "--root chooses what --format text prints; add --format text";
            return Err(Failure::new(EXIT_USAGE, told));
        }
        if json && self.file.is_none() {
            let told = "--json tells what was written to a file; for the content as JSON write \
                        --format json";
            return Err(Failure::new(EXIT_USAGE, told));
        }
        let is_binary = self.format == ExportFormat::Update;
        if is_binary && self.file.is_none() && context.output_is_terminal {
            let told = "an update is binary and not for a terminal; add -o FILE, or --format json \
                        or text";
            return Err(Failure::new(EXIT_USAGE, told));
        }
        let document = self.name.clone();
        let (_, state) = ask(Command::Export { document }, Bytes::new(), settings)?;
        let content = self.content(&state)?;
        let Some(file) = &self.file else {
            return files::print(&content, context.output);
        };
        files::write(file, &content)?;
        let (bytes, shown) = (content.len(), file.display().to_string());
        if json {
            return print::json(
                &serde_json::json!({ "file": shown, "bytes": bytes }),
                context.output,
            );
        }
        let text = format!("wrote {bytes} bytes to {shown}\n");
        files::print(text.as_bytes(), context.output)
    }

    fn content(&self, state: &Bytes) -> Result<Vec<u8>, Failure> {
        let unreadable = |error| Failure::new(EXIT_REFUSED, error);
        Ok(match self.format {
            ExportFormat::Update => state.to_vec(),
            ExportFormat::Json => {
                let value = export::json(state).map_err(unreadable)?;
                format!("{value:#}\n").into_bytes()
            }
            ExportFormat::Text => {
                let text = export::text(state, self.root.as_deref()).map_err(unreadable)?;
                text.into_bytes()
            }
        })
    }
}
