//! A module of the stable ABI with one function, `number`, without any crate of others.

use pyo3::{METH_NOARGS, MethodDef, ModuleDef, Object};

unsafe extern "C" fn number(_module: *mut Object, _none: *mut Object) -> *mut Object {
    unsafe { pyo3::PyLong_FromLong(42) }
}

/// What protoc made of word.proto and of what that imports.
static WORD: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/word.bin"));
const _: () = assert!(WORD.len() > 200);

static mut METHODS: [MethodDef; 2] = [
    MethodDef { name: c"number".as_ptr(), call: Some(number), flags: METH_NOARGS, doc: core::ptr::null() },
    MethodDef::END,
];

static mut MODULE: ModuleDef = ModuleDef::new(c"_core", &raw mut METHODS as *mut MethodDef);

/// Called by Python when the module is imported.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyInit__core() -> *mut Object {
    unsafe { pyo3::PyModule_Create2(&raw mut MODULE, pyo3::ABI) }
}
