/** Makes a realistic history of a node's streams. */
import { mediaHistories } from "./media_history.ts";
import { Random } from "../../tests/support/random.ts";
import { realMiniblock } from "./real_miniblocks.ts";
import {
  type AuthoredBlock,
  type Sizes,
  StreamAuthor,
  type StreamHistory,
} from "./stream_author.ts";
import { type NamedStreamType, streamIdOf } from "./stream_ids.ts";

/** What happens to streams of one type. */
interface Profile extends Sizes {
  /** How many streams there are. */
  streams: number;
  /** How many blocks a stream produces, at least and at most. */
  blocks: [min: number, max: number];
  /** How many events arrive for a block, at least and at most. */
  events: [min: number, max: number];
  snapshotEvery: bigint;
}

const kilobyte = 1024;

const person: Profile = {
  streams: 4,
  blocks: [2, 10],
  events: [1, 3],
  event: [200, kilobyte],
  snapshot: [400, 4 * kilobyte],
  snapshotEvery: 5n,
};

const conversation: Profile = {
  streams: 3,
  blocks: [5, 16],
  events: [2, 8],
  event: [250, 4 * kilobyte],
  snapshot: [500, 6 * kilobyte],
  snapshotEvery: 6n,
};

/** The profiles of all types but media, for which see media_history.ts. */
const profiles: Record<Exclude<NamedStreamType, "media">, Profile> = {
  space: {
    streams: 2,
    blocks: [10, 24],
    events: [1, 4],
    event: [200, 2 * kilobyte],
    snapshot: [4 * kilobyte, 40 * kilobyte],
    snapshotEvery: 8n,
  },
  channel: { ...conversation, streams: 5, blocks: [18, 40] },
  dm: conversation,
  gdm: conversation,
  metadata: { ...person, streams: 1, blocks: [6, 12] },
  user: person,
  user_settings: person,
  user_inbox: { ...person, snapshot: [kilobyte, 12 * kilobyte] },
  user_metadata: person,
};

/**
 * Makes streams of every type and what happens to them, always the same for the
 * same seed. Every call makes new byte arrays. So the verifier compares what is
 * stored with arrays that the storage could not change.
 */
export function historyOf(seed: string): StreamHistory[] {
  const special: Partial<Record<NamedStreamType, StreamHistory[]>> = {
    space: [movedSpace(seed)],
    channel: [trimmedChannel(seed), archivedChannel(seed)],
    user_inbox: [deletedInbox(seed)],
  };
  const types = Object.keys(profiles) as (keyof typeof profiles)[];
  const histories = types.flatMap((type) => [
    ...(special[type] ?? []),
    ...Array.from(
      { length: profiles[type].streams },
      (_, index) => ordinaryHistory(seed, type, index),
    ),
  ]);
  return [...histories, ...mediaHistories(seed)];
}

function ordinaryHistory(
  seed: string,
  type: keyof typeof profiles,
  index: number,
): StreamHistory {
  const random = new Random(`${seed}/${type}/${index}`);
  const author = newAuthor(type, random);
  author.create();
  live(author, profiles[type], random);
  return author.history();
}

function newAuthor(
  type: keyof typeof profiles,
  random: Random,
): StreamAuthor {
  return new StreamAuthor(streamIdOf(type, random), random, profiles[type]);
}

/** Lets events arrive and makes blocks of them; some work stays unfinished. */
function live(author: StreamAuthor, profile: Profile, random: Random): void {
  const { events, snapshotEvery } = profile;
  for (let count = random.between(...profile.blocks); count > 0; count--) {
    if (random.chance(5)) author.catchUp(random.between(2, 4), snapshotEvery);
    if (random.chance(5)) author.proposeAhead();
    author.receive(random.between(...events));
    author.produceBlock(author.generation % snapshotEvery === 0n);
  }
  if (random.chance(70)) author.receive(random.between(...events));
  if (random.chance(30)) author.proposeAhead();
}

function trimmedChannel(seed: string): StreamHistory {
  const random = new Random(`${seed}/trimmed channel`);
  const author = newAuthor("channel", random);
  author.create();
  author.catchUp(30, 6n);
  live(author, profiles.channel, random);
  author.trim();
  return author.history("trimmed");
}

function archivedChannel(seed: string): StreamHistory {
  const author = newAuthor("channel", new Random(`${seed}/archived channel`));
  author.archive(4, 9);
  return author.history("archive");
}

/**
 * A space that moves to this node as three real blocks, 42 to 44. The first has
 * a snapshot inside, the last one beside it. Then older blocks arrive, and the
 * space goes on.
 */
function movedSpace(seed: string): StreamHistory {
  const random = new Random(`${seed}/moved space`);
  const author = newAuthor("space", random);
  const older = author.makeBlocks(28n, 14, 8n);
  const { snapshot } = author.makeBlock(44n, [], true);
  const names = [
    "space-legacy-snapshot",
    "space-no-snapshot",
    "space-detached-snapshot-hash",
  ];
  const [legacy, plain, detached] = names.map((name, index) => ({
    number: 42n + BigInt(index),
    ...realMiniblock(name),
  })) as [AuthoredBlock, AuthoredBlock, AuthoredBlock];
  legacy.hasLegacySnapshot = true;
  author.rebuild([legacy, plain, { ...detached, snapshot: snapshot! }], 44n);
  author.backfill(older);
  live(author, profiles.space, random);
  return author.history("moved here at block 44");
}

function deletedInbox(seed: string): StreamHistory {
  const random = new Random(`${seed}/deleted inbox`);
  const author = newAuthor("user_inbox", random);
  author.create();
  live(author, profiles.user_inbox, random);
  author.delete();
  return author.history("deleted");
}
