/** The option `mediaStorage`: its shape and its check. */

import type {
  GcsTokenSource,
  S3CredentialsSource,
} from "../media/given_credentials.ts";
import {
  also,
  callable,
  type Check,
  type Checked,
  flag,
  isFunction,
  isObject,
  object,
  oneOf,
  optional,
  type Place,
  text,
  textThat,
  withDefault,
} from "./checks.ts";

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
  /** The bucket's name. */
  bucket: string;
  /** The bucket's region; `auto` for R2. */
  region: string;
  /** The server's address, http or https. Default: AWS. */
  endpoint?: string;
  /** The id of the key; needed unless `credentials` are given. */
  accessKeyId?: string;
  /** Never shown in an error or a log. */
  secretAccessKey?: string;
  /** Needed with temporary keys. Never shown. */
  sessionToken?: string;
  /**
   * Returns temporary keys, in place of the above: a credential provider of
   * AWS's SDK, for example. The store calls it again before the keys expire,
   * after a minute if they have no `expiration`, and when S3 refuses them.
   */
  credentials?: S3CredentialsSource;
  /**
   * Puts the bucket's name in the path instead of the host. Default: true with
   * an endpoint, or if the name has a dot.
   */
  forcePathStyle?: boolean;
  /** Moves existing streams, too, not only streams sealed from now on. */
  migrateExisting?: boolean;
}

/** A bucket of Google Cloud Storage. */
export interface GcsMediaStorageOptions {
  /** Which kind of bucket. */
  provider: "gcs";
  /** The bucket's name. */
  bucket: string;
  /**
   * A service account's JSON, as text or parsed, never shown; or a function
   * that returns access tokens, for workload identity, such as
   * `() => auth.getAccessToken()` of Google's library. The store calls it again
   * before a token expires, after a minute if it has no `expiration`, and when
   * GCS refuses it.
   */
  credentials: GcsTokenSource | object | string;
  /** The server's address, http or https. Default: Google's. */
  endpoint?: string;
  /** Moves existing streams, too, not only streams sealed from now on. */
  migrateExisting?: boolean;
}

/** Where sealed media streams are moved to. */
export type MediaStorageOptions =
  | S3MediaStorageOptions
  | GcsMediaStorageOptions;

const word = textThat(
  (text) => /^[\x21-\x7e]{1,4096}$/.test(text),
  "must be printable characters without spaces",
);
const endpoint = textThat(
  isEndpoint,
  "must be an http or https address without user, query or hash",
);
const common = {
  bucket: textThat(
    (text) => /^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$/i.test(text),
    "must be a bucket's name",
  ),
  endpoint: optional(endpoint),
  migrateExisting: withDefault(flag, false),
};

const s3 = also(
  object({
    provider: oneOf("s3"),
    ...common,
    region: textThat(
      (text) => /^[a-z0-9-]{1,64}$/i.test(text),
      "must be a region's name",
    ),
    accessKeyId: optional(word),
    secretAccessKey: optional(word),
    sessionToken: optional(word),
    credentials: optional(callable<S3CredentialsSource>()),
    forcePathStyle: optional(flag),
  }),
  withProof,
);

const gcs = object({
  provider: oneOf("gcs"),
  ...common,
  credentials: gcsCredentials,
});

/** Checks the option; refused values are never shown. */
export const checkMediaStorage: Check<ResolvedMediaStorage> = (
  value,
  place,
) => {
  const provider = isObject(value) ? value["provider"] : undefined;
  if (provider === "s3") return s3(value, place);
  if (provider === "gcs") return gcs(value, place);
  place.at("provider").refuse("must be s3 or gcs");
  return undefined as unknown as ResolvedMediaStorage;
};

/** The option, checked. */
export type ResolvedMediaStorage =
  | Checked<typeof s3>
  | Checked<typeof gcs>;

/** Requires either keys or a function that returns them. */
function withProof<
  T extends {
    accessKeyId?: string | undefined;
    secretAccessKey?: string | undefined;
    sessionToken?: string | undefined;
    credentials?: S3CredentialsSource | undefined;
  },
>(given: T, whole: Place) {
  const { accessKeyId, secretAccessKey, sessionToken, credentials, ...place } =
    given;
  if (credentials !== undefined) {
    const keys = { accessKeyId, secretAccessKey, sessionToken };
    const stray = Object.entries(keys).find(([, key]) => key !== undefined);
    if (stray) whole.at(stray[0]).refuse("can't be used with credentials");
    return { ...place, credentials };
  }
  for (const [name, key] of Object.entries({ accessKeyId, secretAccessKey })) {
    if (key !== undefined) continue;
    whole.at(name).refuse("is needed, or a function as credentials");
    break;
  }
  return {
    ...place,
    accessKeyId: accessKeyId!,
    secretAccessKey: secretAccessKey!,
    sessionToken,
  };
}

/** The needed parts of a service account, which has more. */
const serviceAccount = {
  client_email: text(1, 1000),
  private_key: textThat(isPrivateKey, "must be a PEM private key (PKCS #8)"),
  private_key_id: optional(text(0, 1000)),
  token_uri: withDefault(endpoint, "https://oauth2.googleapis.com/token"),
};

/** A function, or a service account. */
function gcsCredentials(given: unknown, place: Place) {
  if (isFunction(given)) return given as GcsTokenSource;
  const parsed = parseJson(given);
  const known = isObject(parsed)
    ? Object.fromEntries(
      Object.keys(serviceAccount).map((key) => [key, parsed[key]]),
    )
    : parsed;
  const account = object(serviceAccount)(known, place);
  return {
    clientEmail: account.client_email,
    privateKey: account.private_key,
    privateKeyId: account.private_key_id,
    tokenUri: account.token_uri,
  };
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

/** A text that is not JSON stays a text, and is refused as no object. */
function parseJson(value: unknown): unknown {
  if (typeof value !== "string") return value;
  try {
    return JSON.parse(value);
  } catch {
    return undefined;
  }
}
