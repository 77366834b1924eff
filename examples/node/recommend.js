// Calls Marquee: creates a user, records two likes, asks what to watch and why, and reads an error.
// With --follow SECONDS it also waits for what the mesh tells the user.
//
// MARQUEE_EDGE (host:port), MARQUEE_TOKEN and MARQUEE_USER say where and as whom; MARQUEE_CA_FILE
// names the authority of the edge's certificate. It may be run again: nothing happens twice.
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import grpc from '@grpc/grpc-js';
import { call, connect } from './connect.js';
import { details } from './status.js';

const user = process.env.MARQUEE_USER || 'ada';

async function main() {
  const { values } = parseArgs({ options: { follow: { type: 'string', default: '0' } } });
  const follow = Number(values.follow);
  const token = process.env.MARQUEE_TOKEN;
  if (!token) throw new Error(`set MARQUEE_TOKEN, for example to $(marquee token --user ${user})`);
  const mesh = connect({
    edge: process.env.MARQUEE_EDGE || '127.0.0.1:8080',
    token,
    caFile: process.env.MARQUEE_CA_FILE,
  });
  try {
    await createUser(mesh);
    const stream = follow > 0 ? await subscribe(mesh, follow) : null;
    await likeTwoMovies(mesh);
    await recommend(mesh);
    await readAnError(mesh);
    if (stream) await printFirst(stream, follow);
  } finally {
    for (const client of Object.values(mesh)) client.close();
  }
}

async function createUser({ users }) {
  // The request id makes it harmless to ask again.
  const request = { user: { id: user, displayName: 'Ada' }, requestId: `example-${user}` };
  const reply = await call(users, 'createUser', request, 10);
  console.log(`user ${reply.user.id}: ${reply.user.displayName}`);
}

async function likeTwoMovies({ catalog, interactions }) {
  const { movies } = await call(catalog, 'listMovies', { pageSize: 2 }, 10);
  const likes = movies.map((movie) => ({
    eventId: `${user}-likes-${movie.id}`, // recorded once, however often it is sent
    userId: user,
    movieId: movie.id,
    type: 'INTERACTION_TYPE_LIKE',
  }));
  const { results } = await call(interactions, 'recordInteractions', { interactions: likes }, 15);
  results.forEach(({ status, message }, row) => {
    console.log(`likes ${movies[row].title}: ${status.replace('INTERACTION_STATUS_', '')} ${message}`);
  });
}

async function recommend({ recommendations }) {
  const request = { userId: user, limit: 5, explain: true };
  const reply = await call(recommendations, 'recommend', request, 10);
  const rows = reply.recommendations.map((found) => [
    found.score.toFixed(3),
    found.source.replace('SOURCE_', ''),
    found.movie.title,
    found.contributions
      .map(({ title, value }) => `${title} ${value < 0 ? '' : '+'}${value.toFixed(2)}`)
      .join(', '),
  ]);
  printTable([['score', 'source', 'movie', 'because of'], ...rows]);
}

function printTable(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  for (const row of rows) {
    console.log(row.map((text, column) => text.padEnd(widths[column] + 2)).join('').trimEnd());
  }
}

// Asks for more than there is and shows what programs can read in the refusal.
async function readAnError({ recommendations }) {
  try {
    await call(recommendations, 'recommend', { userId: user, limit: 100_000 }, 10);
  } catch (error) {
    console.log(`refused: ${readable(error)}`);
    return;
  }
  throw new Error('100,000 movies were not refused');
}

// Says code, reason and wrong fields of an error in one line.
function readable(error) {
  if (error.code === undefined || !(error.metadata instanceof grpc.Metadata)) return error.message;
  const { info, violations } = details(error);
  return [
    `${grpc.status[error.code]}: ${error.details}`,
    ...(info ? [`reason ${info.reason} of ${info.domain}`] : []),
    ...violations.map(({ field, description }) => `field ${field}: ${description}`),
  ].join('; ');
}

// Resolves once the stream is alive: what happens from then on is told.
async function subscribe({ notifications }, follow) {
  const deadline = Date.now() + (follow + 30) * 1000;
  const stream = notifications.subscribe({ userId: user }, { deadline });
  const arrived = [];
  stream.on('data', ({ notification }) => {
    if (notification) arrived.push(notification);
  });
  await once(stream, 'data'); // the first message is a heartbeat
  stream.on('error', () => {}); // told to whoever waits for it; alone it would end the process
  return { stream, arrived };
}

// Waits for a notification. A program that must miss none keeps the cursor of each message and,
// whenever the stream ends, subscribes again with the last one.
async function printFirst({ stream, arrived }, seconds) {
  const end = AbortSignal.timeout(seconds * 1000);
  try {
    while (arrived.length === 0) await once(stream, 'data', { signal: end });
    console.log(`notification ${arrived[0].sequence}: ${arrived[0].title}`);
  } catch (error) {
    if (!end.aborted) throw error;
    console.log(`no notification within ${seconds} s`);
  } finally {
    stream.cancel();
  }
}

main().catch((error) => {
  console.error(`recommend: ${readable(error)}`);
  process.exitCode = 1;
});
