package main

// buf runs the plugins that go.mod pins; the service config comes from the same contracts.
//go:generate buf generate ../../protos --template buf.gen.yaml
//go:generate cp ../../gen/marquee_policy/service_config.json gen/service_config.json
