//! Writes `docs/configuration.md` from the table; a test keeps the file equal.

use std::fmt::Write;

use super::table::TABLE;

const INTRODUCTION: &str = "\
# Configuration

<!-- Written by server/src/config/docs.rs from the table of settings. To change it, change
server/src/config/table.rs and run: UPDATE_DOCS=1 cargo test -p driftless configuration -->

Every setting has one name in three spellings: the flag `--document-bytes-max`, the environment
variable `DRIFTLESS_DOCUMENT_BYTES_MAX`, and the key `document_bytes_max` of a TOML file that
`--config` names. A flag wins over the environment, the environment over the file, the file over
the default. `driftless config` prints what takes effect and where each value comes from; its output
is itself a valid settings file.

```toml
# driftless.toml
data = \"/var/lib/driftless\"
relay = \"durable\"
history = \"30d\"
document_bytes_max = \"64MiB\"
allow_origin = [\"https://app.example.com\"]
```

Sizes are written `32MiB`, `1GB` or as plain bytes; durations `7d`, `30s`, `1500ms`, and names that
end in `_ms` also take plain milliseconds. Unknown keys, unknown `DRIFTLESS_*` variables and values
out of range are refused at start. Variables that Kubernetes sets for a service called `driftless`
(`DRIFTLESS_PORT…`, `DRIFTLESS_SERVICE_…`) are ignored.
";

/// The whole page.
pub fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    let mut group = "";
    for setting in TABLE {
        if setting.group != group {
            group = setting.group;
            let _ = write!(page, "\n## {group}\n");
        }
        let range = setting
            .range_text()
            .map_or(String::new(), |range| format!(" · {range}"));
        let _ = write!(
            page,
            "\n**`{}`** `{}` · default {}{range}\n<br>{}\n",
            setting.name,
            setting.syntax,
            setting.preset_text(),
            setting.help
        );
    }
    page
}
