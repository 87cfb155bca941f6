//! Runs one process in a root filesystem, isolated and limited; knows no images
