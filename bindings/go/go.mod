module libpubsub/go

go 1.19
