/* Drives the npm client for tests, in Node: a command a line comes in, an answer or an event a line goes out.

     {"call": 1, "client": 7, "method": "connect", "args": {…}}   →   {"call": 1, "result": …} or {"call": 1, "error": {…}}
     {"client": 7, "event": "publication", "channel": "news", "context": {…}}

   Ends with its input. */
import readline from "node:readline";
import { Centrifuge, UnauthorizedError } from "centrifuge";
import { Centrifuge as BinaryCentrifuge, UnauthorizedError as BinaryUnauthorizedError } from "centrifuge/build/protobuf";
import WebSocket from "ws";

const CONNECTION = ["connecting", "connected", "disconnected", "message", "error"];
const SERVER_SIDE = ["subscribing", "subscribed", "unsubscribed", "publication", "join", "leave"];
const SUBSCRIPTION = [...SERVER_SIDE, "error"];
const clients = new Map();

const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");

class Driven {
  constructor(number, { kind, url, tokens, ...options }) {
    this.number = number;
    this.binary = kind.endsWith("protobuf");
    const web = `http${url.slice("ws".length)}`;
    const endpoint = {
      http_stream: [{ transport: "http_stream", endpoint: `${web}/connection/http_stream` }],
      sse: [{ transport: "sse", endpoint: `${web}/connection/sse` }],
    }[kind.replace("_protobuf", "")] ?? `${url}/connection/websocket`;
    const Client = this.binary ? BinaryCentrifuge : Centrifuge;
    this.inner = new Client(endpoint, {
      websocket: WebSocket,
      emulationEndpoint: `${web}/emulation`,
      minReconnectDelay: 100,
      maxReconnectDelay: 500,
      ...options,
      data: this.pack(options.data),
      ...this.asking(tokens, ""),
    });
    for (const event of CONNECTION) this.inner.on(event, (context) => this.tell(event, "", context));
    for (const event of SERVER_SIDE)
      this.inner.on(event, (context) => this.tell(`server_${event}`, context.channel, context));
  }

  /* Tokens one after the other; the last one again and again; unauthorized where there are none. */
  asking(tokens, channel) {
    if (tokens === undefined) return {};
    const left = [...tokens];
    const Unauthorized = this.binary ? BinaryUnauthorizedError : UnauthorizedError;
    const getToken = async () => {
      this.tell("token", channel, {});
      if (!left.length) throw new Unauthorized("no token");
      return left.length > 1 ? left.shift() : left[0];
    };
    return { getToken };
  }

  pack(data) {
    return this.binary && data !== undefined ? new TextEncoder().encode(JSON.stringify(data)) : data;
  }

  /* The same with every JSON value readable, whatever the codec. */
  plain(content) {
    if (content instanceof Uint8Array) return content.length ? JSON.parse(new TextDecoder().decode(content)) : null;
    if (Array.isArray(content)) return content.map((each) => this.plain(each));
    if (content instanceof Error) return { code: content.code ?? 0, message: content.message };
    if (content !== null && typeof content === "object")
      return Object.fromEntries(Object.entries(content).map(([name, each]) => [name, this.plain(each)]));
    return content;
  }

  tell(event, channel, context) {
    say({ client: this.number, event, channel, context: this.plain(context) });
  }

  /* What pytest calls, by name. */

  connect() {
    this.inner.connect();
  }

  disconnect() {
    this.inner.disconnect();
  }

  subscribe({ channel, tokens, data, ...options }) {
    const known = this.inner.getSubscription(channel);
    if (known) {
      known.subscribe();
      return;
    }
    const subscription = this.inner.newSubscription(channel, {
      minResubscribeDelay: 100,
      ...options,
      ...(data === undefined ? {} : { data: this.pack(data) }),
      ...this.asking(tokens, channel),
    });
    for (const event of SUBSCRIPTION) subscription.on(event, (context) => this.tell(event, channel, context));
    subscription.subscribe();
  }

  unsubscribe({ channel }) {
    this.inner.getSubscription(channel).unsubscribe();
  }

  async publish({ channel, data }) {
    await this.inner.publish(channel, this.pack(data));
  }

  history({ channel, ...options }) {
    return this.inner.history(channel, options);
  }

  presence({ channel }) {
    return this.inner.presence(channel);
  }

  presence_stats({ channel }) {
    return this.inner.presenceStats(channel);
  }

  rpc({ method, data }) {
    return this.inner.rpc(method, this.pack(data));
  }

  async send({ data }) {
    await this.inner.send(this.pack(data));
  }

  delta_count({ channel }) {
    return this.inner.getSubscription(channel).deltaStats().numDeltaPayloads;
  }
}

async function run({ call, client, method, args }) {
  try {
    if (method === "open") {
      clients.set(client, new Driven(client, args));
      return say({ call, result: null });
    }
    const driven = clients.get(client);
    const result = await driven[method](args);
    say({ call, result: driven.plain(result) ?? null });
  } catch (error) {
    say({ call, error: { code: error.code ?? 0, message: error.message ?? String(error) } });
  }
}

readline.createInterface({ input: process.stdin }).on("line", (line) => run(JSON.parse(line))).on("close", () => process.exit());
