import { createHash } from "node:crypto";
import { AwsV4Signer } from "aws4fetch";
import { Bucket } from "./bucket.ts";
import {
  type Authorizer,
  defaultHttpPolicy,
  type HttpPolicy,
  type HttpRequest,
} from "./http_client.ts";
import {
  givenKeys,
  type S3Credentials,
  type S3CredentialsSource,
} from "./given_credentials.ts";
import { withoutEndSlashes } from "./object_url.ts";
import type { ObjectStore, ObjectStoreListener } from "./object_store.ts";

/** A bucket of S3 or of a server that speaks its protocol. */
export interface S3Place {
  bucket: string;
  region: string;
  /** Default: AWS. */
  endpoint?: string | undefined;
  /** Default: true for an endpoint, or a name that no certificate covers. */
  forcePathStyle?: boolean | undefined;
}

/** A bucket, and the credentials for it. */
export type S3Options =
  & S3Place
  & (S3Credentials | { credentials: S3CredentialsSource });

/** The size of parts and the retries; the defaults suit real stores. */
export interface BucketTuning {
  policy?: Partial<HttpPolicy>;
  partBytes?: number;
  onCall?: ObjectStoreListener;
}

/**
 * S3 refuses a signed request whose date is over 15 minutes off
 * (`RequestTimeTooSkewed`); one minute more is for servers whose clocks differ.
 */
const signaturesHoldMs = 16 * 60_000;

/** The smallest part that S3 accepts, because each part is held in memory. */
export const defaultPartBytes = 5 * 1024 * 1024;

/** A bucket whose requests are signed with AWS's Signature Version 4. */
export function openS3Bucket(
  options: S3Options,
  { policy, partBytes = defaultPartBytes, onCall = () => {} }: BucketTuning =
    {},
): ObjectStore {
  const complete = { ...defaultHttpPolicy, ...policy };
  return new Bucket({
    provider: "s3",
    lateMs: signaturesHoldMs,
    baseUrl: baseUrlOf(options),
    authorizer: signer(options, complete),
    policy: complete,
    partBytes,
    onCall,
  });
}

function baseUrlOf({ bucket, region, endpoint, forcePathStyle }: S3Place) {
  const host = new URL(endpoint ?? `https://s3.${region}.amazonaws.com`);
  const isPath = forcePathStyle ??
    (endpoint !== undefined || bucket.includes("."));
  const path = withoutEndSlashes(host.pathname);
  return isPath
    ? `${host.origin}${path}/${encodeURIComponent(bucket)}`
    : `${host.protocol}//${bucket}.${host.host}${path}`;
}

function signer(options: S3Options, { stallMs }: HttpPolicy): Authorizer {
  const given = "credentials" in options
    ? givenKeys(options.credentials, stallMs)
    : { get: () => options };
  const keys = new Map<string, ArrayBuffer>();
  return {
    ...("forget" in given && { forget: () => given.forget() }),
    async authorize({ method, url, headers, body, date }: HttpRequest) {
      const { accessKeyId, secretAccessKey, sessionToken } = await given.get();
      const sha256 = createHash("sha256").update(body ?? new Uint8Array());
      const signed = await new AwsV4Signer({
        method,
        url: url.href,
        headers: {
          ...headers,
          "x-amz-content-sha256": sha256.digest("hex"),
        },
        accessKeyId,
        secretAccessKey,
        ...(sessionToken === undefined ? {} : { sessionToken }),
        service: "s3",
        region: options.region,
        ...(date === undefined ? {} : { datetime: compactOf(date) }),
        cache: keys,
      }).sign();
      // A signing key is valid for a day.
      if (keys.size > 2) keys.clear();
      return signed.headers;
    },
  };
}

/** A date in the format of signatures: `20300102T030405Z`. */
function compactOf(date: Date): string {
  return date.toISOString().replace(/[:-]|\.\d{3}/g, "");
}
