package example;

import com.google.gson.Gson;
import io.grpc.CallCredentials;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.TlsChannelCredentials;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.Reader;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;

/** Opens the mesh. */
final class Connection {
  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

  private Connection() {}

  /**
   * Makes a channel. Without an authority it speaks plain text, which it does with this machine
   * only: the token would be readable on the way.
   *
   * @param edge host:port
   * @param caFile the authority of the edge's certificate, or null
   */
  static ManagedChannel open(String edge, String caFile) throws IOException {
    ChannelCredentials credentials;
    if (caFile != null) {
      credentials = TlsChannelCredentials.newBuilder().trustManager(new File(caFile)).build();
    } else if (edge.matches("(localhost|127(\\.\\d+){3}|\\[::1\\]):\\d+")) {
      credentials = InsecureChannelCredentials.create();
    } else {
      throw new IllegalArgumentException(
          "the token would travel to " + edge + " in the clear: set MARQUEE_CA_FILE");
    }
    return Grpc.newChannelBuilder(edge, credentials)
        .defaultServiceConfig(serviceConfig())
        .enableRetry()
        // Not more often than every 20 s, or the servers hang up.
        .keepAliveTime(1, TimeUnit.MINUTES)
        .build();
  }

  /** Retries of what is safe to repeat, and the longest time each RPC may take. */
  private static Map<String, ?> serviceConfig() throws IOException {
    try (Reader reader =
        new InputStreamReader(
            Connection.class.getResourceAsStream("/service_config.json"), StandardCharsets.UTF_8)) {
      @SuppressWarnings("unchecked")
      Map<String, ?> config = new Gson().fromJson(reader, Map.class);
      return config;
    }
  }

  /** Gives each call its token. */
  static CallCredentials bearer(String token) {
    return new CallCredentials() {
      @Override
      public void applyRequestMetadata(RequestInfo call, Executor executor, MetadataApplier applier) {
        Metadata headers = new Metadata();
        headers.put(AUTHORIZATION, "Bearer " + token);
        applier.apply(headers);
      }
    };
  }
}
