//! What a primary does, by the effects it emits.
