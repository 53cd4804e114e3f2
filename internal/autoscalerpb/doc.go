// Package autoscalerpb is the wire format of upstream's
// ray.rpc.autoscaler.AutoscalerStateService, and of the little of its GCS that
// a client needs beside it, as Go code generated from the .proto files here:
// what an autoscaler or a status tool that speaks upstream's format and a head
// of ours have to say to each other. Whoever serves or calls the services may
// import it; nothing else needs it.
//
// protoc comes with grpcio-tools 1.85.1 from PyPI, in a virtual environment of
// its own; protoc-gen-go is v1.36.12 and protoc-gen-go-grpc v1.6.0 (go
// install), on PATH.
package autoscalerpb

//go:generate sh -c "cd ../.. && python -m grpc_tools.protoc -I. --go_out=. --go_opt=module=ray --go-grpc_out=. --go-grpc_opt=module=ray internal/autoscalerpb/labels.proto internal/autoscalerpb/autoscaler.proto internal/autoscalerpb/gcs.proto"
