//! What a database's schema is at, and what would bring it up to date.

use std::collections::BTreeMap;

use sqlx::migrate::Migrator;

use super::StoreError;

/// One migration of a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaStep {
    /// Its number; they are applied in this order.
    pub version: i64,
    /// What it brings, in a few words.
    pub description: String,
}

/// What a schema was found at, and the steps that it lacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaReport {
    /// The newest migration that was there; 0 for an empty database.
    pub found: i64,
    /// The newest migration that this build knows.
    pub newest: i64,
    /// What was missing, in order; applied unless only a look was asked for.
    pub steps: Vec<SchemaStep>,
}

/// The migrations that a database records, with their checksums.
pub(super) type Recorded = BTreeMap<i64, Vec<u8>>;

/// Compares what a database records with what this build knows. Refused when it records a migration
/// that is unknown here, or another one under a number that is known.
pub(super) fn compare(
    database: &str,
    recorded: &Recorded,
    migrations: &Migrator,
) -> Result<SchemaReport, StoreError> {
    let newest = migrations.iter().map(|it| it.version).max().unwrap_or(0);
    let found = recorded.keys().max().copied().unwrap_or(0);
    if found > newest {
        return Err(StoreError::Refused(format!(
            "{database} was written by a newer driftless (schema {found}, this one knows \
             {newest}); nothing was changed in it; start the newer version, or restore a backup \
             made by this one"
        )));
    }
    let mut steps = Vec::new();
    for migration in migrations.iter() {
        match recorded.get(&migration.version) {
            None => steps.push(SchemaStep {
                version: migration.version,
                description: migration.description.to_string(),
            }),
            Some(checksum) if *checksum == *migration.checksum => {}
            Some(_) => return Err(foreign(database, migration.version)),
        }
    }
    let is_known = |version: &i64| migrations.iter().any(|it| it.version == *version);
    if let Some(version) = recorded.keys().find(|version| !is_known(version)) {
        return Err(foreign(database, *version));
    }
    Ok(SchemaReport {
        found,
        newest,
        steps,
    })
}

fn foreign(database: &str, version: i64) -> StoreError {
    StoreError::Refused(format!(
        "the schema of {database} is not one this driftless made (migration {version} is another \
         one); nothing was changed in it; start the version that wrote it, or restore a backup"
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn migrations() -> Migrator {
        sqlx::migrate!("./migrations/sqlite")
    }

    fn recorded(upto: i64) -> Recorded {
        let migrations = migrations();
        let known = migrations.iter().filter(|it| it.version <= upto);
        known.map(|it| (it.version, it.checksum.to_vec())).collect()
    }

    #[test]
    fn what_is_missing_is_listed_in_order() {
        let report = compare("it", &recorded(1), &migrations()).unwrap();
        let versions: Vec<i64> = report.steps.iter().map(|it| it.version).collect();
        assert_eq!((report.found, &versions[..2]), (1, &[2, 3][..]));
        assert_eq!(report.steps[1].description, "journal");
        let complete = compare("it", &recorded(i64::MAX), &migrations()).unwrap();
        assert_eq!(complete.found, complete.newest);
        assert!(complete.steps.is_empty());
    }

    #[test]
    fn newer_and_foreign_schemas_are_refused_with_what_to_do() {
        let mut newer = recorded(3);
        newer.insert(9_999, vec![1]);
        let told = compare("it", &newer, &migrations())
            .unwrap_err()
            .to_string();
        assert!(
            told.contains("newer driftless") && told.contains("9999"),
            "{told}"
        );
        let mut other = recorded(3);
        other.insert(2, vec![1]);
        let told = compare("it", &other, &migrations())
            .unwrap_err()
            .to_string();
        assert!(told.contains("migration 2 is another"), "{told}");
        let mut unknown = recorded(3);
        unknown.insert(0, vec![1]);
        assert!(compare("it", &unknown, &migrations()).is_err());
    }
}
