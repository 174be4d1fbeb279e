//! Who is the primary master: the configuration record and its stores.
