//! The same capture with pseudonyms for keys.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow_array::{Array, builder::StringBuilder};
use mcrec_capture::Capture;
use mcrec_schema::{
    columns,
    derived::ANONYMISE,
    footer::ANONYMISED_IN_TRACE,
    key,
    pseudonym::{METHOD, Pseudonyms},
};

use super::{Destination, Made, is_complete, output::Output, rows, step};

/// Writes `capture` with the keys that `mcrec --hash-keys` would have recorded.
///
/// # Errors
///
/// When its keys are hashed already, it cannot be read, or the new one not be written.
pub(crate) fn anonymise(
    capture: &Capture,
    pseudonyms: &Pseudonyms,
    destination: &Destination,
) -> Result<Made> {
    let shown = capture.path().display();
    if let Some(how) = &capture.footer().privacy.keys_hashed
        && how != ANONYMISED_IN_TRACE
    {
        bail!("the keys of {shown} are hashed already ({how})");
    }
    let mut footer = capture.footer().clone();
    footer.privacy.keys_hashed = Some(METHOD.to_owned());
    // A slice says of which key it is.
    let hidden = |text: &str| {
        pseudonyms.of(&key::unescape(text).unwrap_or_else(|| text.as_bytes().to_vec()))
    };
    footer.derived.iter_mut().for_each(|step| step.replace_keys(&hidden));
    footer.derived.push(step(ANONYMISE, [capture.footer()]));
    let mut output = Output::create(destination, &footer)?;
    rows::each(
        capture,
        |_| true,
        |place, batch| {
            let keys = rows::texts(&batch, columns::KEY)?;
            let mut hashed = StringBuilder::new();
            for row in 0..keys.len() {
                if keys.is_null(row) {
                    hashed.append_null();
                    continue;
                }
                let bytes = key::unescape(keys.value(row)).with_context(|| {
                    format!(
                        "the key of row {} of {shown} is not written as keys are: the file is \
                         damaged",
                        place.row + row as u64
                    )
                })?;
                hashed.append_value(pseudonyms.of(&bytes));
            }
            output.write(&rows::with_column(&batch, columns::KEY, Arc::new(hashed.finish()))?)
        },
    )?;
    let written = output.rows();
    let incomplete = !is_complete(&footer);
    let bytes = output.finish(footer)?;
    Ok(Made { read: capture.rows(), written, bytes, late: 0, incomplete })
}
