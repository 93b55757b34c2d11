//! Contract of component files, and of settings that are changed only if others are as expected.

use sha2::{Digest, Sha256};

use super::support::somebody;
use crate::{ChangeLog, Origin, StoredComponent, WriteError};

fn component(content: &str, signature: Option<&str>) -> StoredComponent {
    let bytes = format!("component {content}").into_bytes();
    StoredComponent {
        digest: format!("sha256:{:x}", Sha256::digest(&bytes)),
        bytes: bytes.into(),
        signature: signature.map(str::to_owned),
    }
}

fn signature(letter: char) -> String {
    format!("{}==", letter.to_string().repeat(86))
}

async fn stored(origin: &dyn Origin, digest: &str) -> Option<StoredComponent> {
    origin.component(digest).await.expect("the origin answers")
}

/// What is stored comes back, byte by byte; a signature that comes later is kept.
pub async fn component_files_are_kept_by_digest(origin: &dyn Origin) {
    let (first, second) = (
        component("one", None),
        component("two", Some(&signature('a'))),
    );
    assert_eq!(stored(origin, &first.digest).await, None);
    for file in [&first, &second, &first] {
        origin.put_component(file).await.expect("stored");
        assert_eq!(stored(origin, &file.digest).await.as_ref(), Some(file));
    }
    let signed = component("one", Some(&signature('b')));
    origin.put_component(&signed).await.expect("stored");
    origin.put_component(&first).await.expect("stored");
    assert_eq!(stored(origin, &first.digest).await, Some(signed));
}

/// A name that is not the content's, what is too small or too large: refused in words.
pub async fn broken_component_files_are_rejected(origin: &dyn Origin) {
    let fine = component("fine", None);
    let mut misnamed = fine.clone();
    misnamed.digest = component("other", None).digest;
    let sized = |size: usize| {
        let bytes = vec![1; size];
        StoredComponent {
            digest: format!("sha256:{:x}", Sha256::digest(&bytes)),
            bytes: bytes.into(),
            signature: None,
        }
    };
    for broken in [misnamed, sized(7), sized((8 << 20) + 1)] {
        let outcome = origin.put_component(&broken).await;
        assert!(
            matches!(&outcome, Err(WriteError::Rejected(why)) if !why.is_empty()),
            "{} of {} bytes: {outcome:?}",
            broken.digest,
            broken.bytes.len()
        );
        assert_eq!(stored(origin, &broken.digest).await, None);
    }
}

/// Only so many that nobody refers to are kept, and every one that a setting names.
pub async fn old_component_files_go_unless_a_setting_names_them(origin: &dyn Origin) {
    let files: Vec<_> = (0..30).map(|n| component(&n.to_string(), None)).collect();
    origin.put_component(&files[0]).await.expect("stored");
    let named = [(
        "component.current".to_owned(),
        Some(files[0].digest.clone()),
    )];
    let set = origin.set_settings(&named, &[], &somebody()).await;
    set.expect("written");
    for file in &files[1..] {
        origin.put_component(file).await.expect("stored");
    }
    let mut kept = Vec::new();
    for (index, file) in files.iter().enumerate() {
        if stored(origin, &file.digest).await.is_some() {
            kept.push(index);
        }
    }
    let expected: Vec<usize> = std::iter::once(0).chain(14..30).collect();
    assert_eq!(kept, expected);
}

/// All changes or none, by what is stored when they are made.
pub async fn settings_change_only_if_others_are_as_expected(
    origin: &dyn Origin,
    log: &dyn ChangeLog,
) {
    let pair = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
    let set = async |name: &str, value: Option<&str>, only_if: &[(String, Option<String>)]| {
        let changes = [pair(name, value), pair("witness", Some(name))];
        origin.set_settings(&changes, only_if, &somebody()).await
    };
    let absent = [pair("a", None)];
    let one = [pair("a", Some("1")), pair("b", None)];
    set("a", Some("1"), &absent).await.expect("it was absent");
    for only_if in [
        &absent[..],
        &[pair("a", Some("2"))],
        &[one[0].clone(), pair("b", Some("1"))],
    ] {
        assert_eq!(
            set("a", Some("9"), only_if).await,
            Err(WriteError::Precondition { current: None }),
            "{only_if:?}"
        );
    }
    set("a", Some("2"), &one).await.expect("as expected");
    set("a", None, &[pair("a", Some("2"))])
        .await
        .expect("as expected");
    let settings = log.settings().await.expect("the log answers");
    let names: Vec<_> = settings.iter().map(|s| (&*s.name, &*s.value)).collect();
    assert_eq!(names, [("witness", "a")]);
}
