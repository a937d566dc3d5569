/**
 * A program that serves the S3 protocol and checks every signature: s3rver,
 * in a process of its own. Arguments: the directory for its data, the bucket.
 * Prints its port.
 */
import process from "node:process";
import S3rver from "@20minutes/s3rver";

const [, , directory, bucket] = process.argv;

const server = new S3rver({
  address: "127.0.0.1",
  port: 0,
  silent: true,
  directory: directory!,
  vhostBuckets: false,
  configureBuckets: [{ name: bucket!, configs: [] }],
});
const { port } = await server.run();
process.stdout.write(`${port}\n`);
// Ends with whoever started it.
process.stdin.on("end", () => process.exit());
process.stdin.resume();
