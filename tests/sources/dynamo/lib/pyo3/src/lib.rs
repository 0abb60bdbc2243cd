//! As much of Python's C interface as a module with one function needs (<https://docs.python.org/3/c-api/module.html>).

#![allow(non_snake_case)]

use core::ffi::{CStr, c_char, c_int, c_long, c_void};

pub const METH_NOARGS: c_int = 4;
/// `PYTHON_ABI_VERSION` of the stable ABI.
pub const ABI: c_int = 3;

#[repr(C)]
pub struct Object {
    count: isize,
    kind: *mut c_void,
}

#[repr(C)]
pub struct MethodDef {
    pub name: *const c_char,
    pub call: Option<unsafe extern "C" fn(*mut Object, *mut Object) -> *mut Object>,
    pub flags: c_int,
    pub doc: *const c_char,
}

impl MethodDef {
    pub const END: Self = Self { name: core::ptr::null(), call: None, flags: 0, doc: core::ptr::null() };
}

#[repr(C)]
pub struct ModuleDef {
    base: Object,
    init: *mut c_void,
    index: isize,
    copy: *mut Object,
    name: *const c_char,
    doc: *const c_char,
    size: isize,
    methods: *mut MethodDef,
    slots: [*mut c_void; 4],
}

impl ModuleDef {
    pub const fn new(name: &'static CStr, methods: *mut MethodDef) -> Self {
        let nothing = core::ptr::null_mut();
        Self {
            base: Object { count: 1, kind: nothing },
            init: nothing,
            index: 0,
            copy: core::ptr::null_mut(),
            name: name.as_ptr(),
            doc: core::ptr::null(),
            size: -1,
            methods,
            slots: [nothing; 4],
        }
    }
}

unsafe extern "C" {
    pub fn PyLong_FromLong(value: c_long) -> *mut Object;
    pub fn PyModule_Create2(module: *mut ModuleDef, abi: c_int) -> *mut Object;
}
