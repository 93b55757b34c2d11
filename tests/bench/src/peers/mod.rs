//! Who answers the same question: the same rules compiled natively, and two policy engines. They are
//! given every input in its finished form, as Ordain is; what each does less is said there.

pub mod cedar;
pub mod native;
pub mod regorus;
