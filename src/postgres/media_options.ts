/** The option `mediaStorage`: its shape, its check, and the bucket it opens. */

import { z } from "zod";
import { openGcsBucket } from "../media/gcs.ts";
import type {
  GcsTokenSource,
  S3CredentialsSource,
} from "../media/given_credentials.ts";
import type {
  ObjectStore,
  ObjectStoreListener,
} from "../media/object_store.ts";
import { openS3Bucket } from "../media/s3.ts";

/**
 * A bucket of S3, or of a server that speaks its protocol.
 *
 * @example MinIO.
 * ```ts
 * import type { S3MediaStorageOptions } from "@towns/stream-storage";
 *
 * const mediaStorage: S3MediaStorageOptions = {
 *   provider: "s3",
 *   bucket: "towns-media",
 *   region: "us-east-1",
 *   endpoint: "http://minio:9000",
 *   accessKeyId,
 *   secretAccessKey,
 * };
 * ```
 */
export interface S3MediaStorageOptions {
  /** Which kind of bucket. */
  provider: "s3";
  /** Its name. */
  bucket: string;
  /** Its region; `auto` for R2. */
  region: string;
  /** The server's address, http or https. Default: AWS. */
  endpoint?: string;
  /** Who asks; needed unless `credentials` are given. */
  accessKeyId?: string;
  /** Never shown in an error or a log. */
  secretAccessKey?: string;
  /** With temporary keys. Never shown. */
  sessionToken?: string;
  /**
   * Gives temporary keys, in place of the above: a credential provider of AWS's
   * SDK, for example. It is asked again before they end, after a minute if they
   * have no `expiration`, and when the store refuses them.
   */
  credentials?: S3CredentialsSource;
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
  /**
   * A service account's JSON, as text or read, never shown; or a function that
   * gives access tokens, for workload identity: `() => auth.getAccessToken()` of
   * Google's library. It is asked again before a token ends, after a minute if
   * it has no `expiration`, and when the store refuses it.
   */
  credentials: GcsTokenSource | object | string;
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
    accessKeyId: word.optional(),
    secretAccessKey: word.optional(),
    sessionToken: word.optional(),
    credentials: z.custom<S3CredentialsSource>(
      isFunction,
      "must be a function",
    ).optional(),
    forcePathStyle: z.boolean().optional(),
  }).transform(withProof),
  z.strictObject({
    provider: z.literal("gcs"),
    ...common,
    credentials: z.unknown().transform(gcsCredentials),
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

type Context = z.core.$RefinementCtx;

/** Either keys or a function that gives them. */
function withProof<
  T extends {
    accessKeyId?: string | undefined;
    secretAccessKey?: string | undefined;
    sessionToken?: string | undefined;
    credentials?: S3CredentialsSource | undefined;
  },
>(given: T, context: Context) {
  const { accessKeyId, secretAccessKey, sessionToken, credentials, ...place } =
    given;
  const keys = { accessKeyId, secretAccessKey, sessionToken };
  const refuse = (option: string, message: string) => {
    context.addIssue({ code: "custom", path: [option], message });
    return z.NEVER;
  };
  if (credentials !== undefined) {
    const stray = Object.entries(keys).find(([, key]) => key !== undefined);
    return stray === undefined
      ? { ...place, credentials }
      : refuse(stray[0], "can't stand with credentials");
  }
  if (accessKeyId === undefined || secretAccessKey === undefined) {
    const missing = accessKeyId === undefined
      ? "accessKeyId"
      : "secretAccessKey";
    return refuse(missing, "is needed, or a function as credentials");
  }
  return { ...place, accessKeyId, secretAccessKey, sessionToken };
}

/** A function, or a service account. */
function gcsCredentials(given: unknown, context: Context) {
  if (isFunction(given)) return given as GcsTokenSource;
  const account = serviceAccount.safeParse(parseJson(given));
  if (account.success) return account.data;
  for (const { path, message } of account.error.issues) {
    context.addIssue({ code: "custom", path: [...path], message });
  }
  return z.NEVER;
}

function isFunction(value: unknown): boolean {
  return typeof value === "function";
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
