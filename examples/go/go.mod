module libpubsub/examples

go 1.19

require libpubsub/go v0.0.0

replace libpubsub/go => ../../bindings/go
