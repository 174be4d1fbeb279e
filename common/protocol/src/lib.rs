//! The wire: protobuf for the control plane, frames for the data plane.
