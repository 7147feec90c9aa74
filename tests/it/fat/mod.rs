//! The FAT editor, judged by dosfstools, mtools and a second implementation.

mod damage;
mod edit;
mod lab;
mod limits;
mod make;
mod support;
