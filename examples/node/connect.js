import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';

const root = fileURLToPath(new URL('../../', import.meta.url));

const contracts = grpc.loadPackageDefinition(
  loader.loadSync(
    ['user_service', 'catalog_service', 'interaction_service', 'recommendation_service', 'notification_service'].map(
      (name) => `marquee/${{ user_service: 'user', notification_service: 'notify' }[name] ?? 'reco'}/v1/${name}.proto`,
    ),
    { includeDirs: [`${root}protos`], longs: String, enums: String, defaults: true, oneofs: true },
  ),
).marquee;

// Retries of what is safe to repeat, and the longest time each RPC may take.
const serviceConfig = readFileSync(`${root}gen/marquee_policy/service_config.json`, 'utf8');

// Opens the mesh: one client per service, all of them on one connection. Without an authority it
// speaks plain text, which it does with this machine only: the token would be readable on the way.
export function connect({ edge, token, caFile }) {
  const bearer = (_, give) => {
    const metadata = new grpc.Metadata();
    metadata.set('authorization', `Bearer ${token}`);
    give(null, metadata);
  };
  const options = {
    'grpc.service_config': serviceConfig,
    'grpc.keepalive_time_ms': 60_000, // not more often than every 20 s, or the servers hang up
    'grpc.keepalive_timeout_ms': 20_000,
  };
  let credentials = grpc.credentials.createInsecure();
  if (caFile) {
    credentials = grpc.credentials.combineChannelCredentials(
      grpc.credentials.createSsl(readFileSync(caFile)),
      grpc.credentials.createFromMetadataGenerator(bearer),
    );
  } else if (/^(localhost|127(\.\d+){3}|\[::1\]):\d+$/.test(edge)) {
    // Credentials of calls go with TLS only; an interceptor does the same here.
    options.interceptors = [
      (call, next) =>
        new grpc.InterceptingCall(next(call), {
          start: (metadata, listener, go) => {
            metadata.set('authorization', `Bearer ${token}`);
            go(metadata, listener);
          },
        }),
    ];
  } else {
    throw new Error(`the token would travel to ${edge} in the clear: set MARQUEE_CA_FILE`);
  }
  const open = (Service) => new Service(edge, credentials, options);
  return {
    users: open(contracts.user.v1.UserService),
    catalog: open(contracts.reco.v1.CatalogService),
    interactions: open(contracts.reco.v1.InteractionService),
    recommendations: open(contracts.reco.v1.RecommendationService),
    notifications: open(contracts.notify.v1.NotificationService),
  };
}

// Makes a call that has so many seconds, and returns a promise of its reply.
export function call(client, method, request, seconds) {
  return new Promise((resolve, reject) => {
    client[method](request, { deadline: Date.now() + seconds * 1000 }, (error, reply) =>
      error ? reject(error) : resolve(reply),
    );
  });
}
