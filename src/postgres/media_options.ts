/** The option `mediaStorage`: its shape, its check, and the bucket it opens. */

import { z } from "zod";
import { openGcsBucket } from "../media/gcs.ts";
import type {
  ObjectStore,
  ObjectStoreListener,
} from "../media/object_store.ts";
import { openS3Bucket } from "../media/s3.ts";

/** A bucket of S3, or of a server that speaks its protocol. */
export interface S3MediaStorageOptions {
  /** Which kind of bucket. */
  provider: "s3";
  /** Its name. */
  bucket: string;
  /** Its region; `auto` for R2. */
  region: string;
  /** The server's address, http or https. Default: AWS. */
  endpoint?: string;
  /** Who asks. */
  accessKeyId: string;
  /** Never shown in an error or a log. */
  secretAccessKey: string;
  /** With temporary keys. Never shown. */
  sessionToken?: string;
  /**
   * The bucket's name in the path instead of the host. Default: true with an
   * endpoint, or if the name has a dot.
   */
  forcePathStyle?: boolean;
  /** Moves existing streams too, not only those sealed from now on. */
  migrateExisting?: boolean;
}

/** A bucket of Google Cloud Storage. */
export interface GcsMediaStorageOptions {
  /** Which kind of bucket. */
  provider: "gcs";
  /** Its name. */
  bucket: string;
  /** A service account's JSON, as text or read. Never shown. */
  credentials: object | string;
  /** The server's address, http or https. Default: Google's. */
  endpoint?: string;
  /** Moves existing streams too, not only those sealed from now on. */
  migrateExisting?: boolean;
}

/** Where sealed media streams are moved to. */
export type MediaStorageOptions =
  | S3MediaStorageOptions
  | GcsMediaStorageOptions;

const word = z.string().min(1).max(4096).regex(
  /^[\x21-\x7e]+$/,
  "must be printable characters without spaces",
);
const common = {
  bucket: z.string().regex(
    /^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$/i,
    "must be a bucket's name",
  ),
  endpoint: z.string().refine(isEndpoint, {
    message: "must be an http or https address without user, query or hash",
  }).optional(),
  migrateExisting: z.boolean().default(false),
};

const serviceAccount = z.object({
  client_email: z.string().min(1).max(1000),
  private_key: z.string().refine(isPrivateKey, {
    message: "must be a PEM private key (PKCS #8)",
  }),
  private_key_id: z.string().max(1000).optional(),
  token_uri: z.string().refine(isEndpoint, {
    message: "must be an http or https address without user, query or hash",
  }).default("https://oauth2.googleapis.com/token"),
}).transform((account) => ({
  clientEmail: account.client_email,
  privateKey: account.private_key,
  privateKeyId: account.private_key_id,
  tokenUri: account.token_uri,
}));

/** Checks the option; the values it refuses are never shown. */
export const mediaStorageSchema = z.discriminatedUnion("provider", [
  z.strictObject({
    provider: z.literal("s3"),
    ...common,
    region: z.string().regex(/^[a-z0-9-]{1,64}$/i, "must be a region's name"),
    accessKeyId: word,
    secretAccessKey: word,
    sessionToken: word.optional(),
    forcePathStyle: z.boolean().optional(),
  }),
  z.strictObject({
    provider: z.literal("gcs"),
    ...common,
    credentials: z.preprocess(parseJson, serviceAccount),
  }),
], { message: "provider must be s3 or gcs" });

/** The option, checked. */
export type ResolvedMediaStorage = z.output<typeof mediaStorageSchema>;

/** Opens the bucket; nothing is sent yet. */
export function openBucket(
  options: ResolvedMediaStorage,
  onCall: ObjectStoreListener,
): ObjectStore {
  return options.provider === "s3"
    ? openS3Bucket(options, { onCall })
    : openGcsBucket(options, { onCall });
}

function isEndpoint(value: string): boolean {
  if (!URL.canParse(value)) return false;
  const { protocol, username, password, search, hash } = new URL(value);
  return /^https?:$/.test(protocol) &&
    username + password + search + hash === "";
}

function isPrivateKey(value: string): boolean {
  return /^\s*-----BEGIN PRIVATE KEY-----[A-Za-z0-9+/=\s]+-----END PRIVATE KEY-----\s*$/
    .test(value);
}

/** What is no JSON is no object, and refused as that. */
function parseJson(value: unknown): unknown {
  if (typeof value !== "string") return value;
  try {
    return JSON.parse(value);
  } catch {
    return undefined;
  }
}
