/**
 * A program that runs s3rver, a server of the S3 protocol that checks every
 * signature. Arguments: the directory for its data, the bucket. Prints its port.
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
// Ends with the process that started it.
process.stdin.on("end", () => process.exit());
process.stdin.resume();
