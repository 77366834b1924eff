package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"fmt"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// Retries of what is safe to repeat, and the longest time each RPC may take.
//
//go:embed gen/service_config.json
var serviceConfig string

// bearer gives each call its token.
type bearer struct {
	token     string
	encrypted bool
}

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + b.token}, nil
}

func (b bearer) RequireTransportSecurity() bool { return b.encrypted }

// connect opens the mesh. Without an authority it speaks plain text, which it does with this
// machine only: the token would be readable on the way.
func connect(edge, token, caFile string) (*grpc.ClientConn, error) {
	transport := insecure.NewCredentials()
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", caFile)
		}
		transport = credentials.NewTLS(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12})
	} else if !isLoopback(edge) {
		return nil, fmt.Errorf("the token would travel to %s in the clear: set MARQUEE_CA_FILE", edge)
	}
	return grpc.NewClient(edge,
		grpc.WithTransportCredentials(transport),
		grpc.WithPerRPCCredentials(bearer{token, caFile != ""}),
		grpc.WithDefaultServiceConfig(serviceConfig),
		// Not more often than every 20 s, or the servers hang up.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: time.Minute, Timeout: 20 * time.Second}),
	)
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
