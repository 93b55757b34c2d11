//! Compiling: in a process of its own with limits of memory and time, where this program can be
//! started again, else here. What is plainly too much is refused before (`weighed`). Not for what
//! becomes of the code.

mod apart;
mod weighed;

use wasmtime::Engine;
use wasmtime::component::Component;

use super::bytes::LoadError;
use super::compiled::{deserialize, seal::SealKey};
use super::limits;
pub use apart::compile_apart;
use apart::{Apart, apart};
use weighed::weigh;

/// A compiled component, and its code as it can be kept.
pub struct Code {
    pub component: Component,
    pub bytes: Vec<u8>,
}

/// `digest`: of `bytes`.
pub fn compile(engine: &Engine, bytes: &[u8], digest: &str) -> Result<Code, LoadError> {
    weigh(bytes).map_err(LoadError::Excess)?;
    let key = SealKey::random();
    let code = match apart(bytes, &key) {
        Apart::Sealed(seal, code) if key.fits(&seal, digest, engine, &code) => code,
        Apart::Sealed(..) => {
            return Err(LoadError::Busy(
                "the code that came back is not what was asked for".to_owned(),
            ));
        }
        Apart::Refused(why) => return Err(LoadError::Compile(why)),
        Apart::Exceeded(why) => return Err(LoadError::Excess(why)),
        Apart::Failed(why) => return Err(LoadError::Busy(why)),
        Apart::Impossible => engine
            .precompile_component(bytes)
            .map_err(|error| LoadError::Compile(format!("{error:#}")))?,
    };
    let component = deserialize(engine, &code);
    let component = component.map_err(|error| denied(&error, LoadError::Compile))?;
    Ok(Code {
        component,
        bytes: code,
    })
}

/// What the system does not let us do is no fault of the component's; everything else is.
pub fn denied(error: &wasmtime::Error, fault: fn(String) -> LoadError) -> LoadError {
    let why = format!("{error:#}");
    match limits::hint(&why) {
        Some(hint) => LoadError::Denied(format!("{hint} ({why})")),
        None => fault(why),
    }
}
