// What the two replies about the platform add up to, in the shape that the picture and the tables show.

import { counted } from "../../lib/format.js";

/** What each durable consumer does, and who does it. */
export const STAGES = {
  parser: { part: "parser", does: "reads documents" },
  "persistence-intake": { part: "persistence", does: "notes uploads" },
  embedder: { part: "embedder", does: "makes vectors" },
  retriever: { part: "retriever", does: "fills the index" },
  persistence: { part: "persistence", does: "records what happened" },
  "retriever-cleanup": { part: "retriever", does: "removes old chunks" },
  agent: { part: "agent", does: "answers questions" },
  "persistence-turns": { part: "persistence", does: "keeps conversations" },
  "persistence-dead": { part: "persistence", does: "lists dead letters" },
  "persistence-advisories": { part: "persistence", does: "notes what was given up" },
};

/** Return `{parts, about, stages, streams}`; without a pipeline, which needs the scope admin, less is known of the stages. */
export function stateOf(health, pipeline) {
  const parts = Object.entries(health.services).map(([name, found]) => ({ name, ready: found.ready, replicas: found.replicas.length }));
  const stages = pipeline ? pipeline.stages.map(known) : health.consumers.map(seen);
  return { parts, about: aboutOf(health), stages, streams: pipeline?.streams ?? [] };
}

/** Return what each part stands on, in a few words. */
function aboutOf({ broker, version, parts: { llm, agent, index, database, embedding } }) {
  return {
    gateway: [`release ${version}`, broker.server && `broker NATS ${broker.server}`].filter(Boolean).join(", "),
    embedder: embedding?.model && `model ${embedding.model.split("@")[0]}`,
    retriever: index?.engine && `${index.engine}, ${counted(index.chunks ?? 0, "chunk")}`,
    agent: llm?.model ? `model ${llm.model}` : agent?.answerer && `${agent.answerer} answers, no language model`,
    persistence: database?.kind,
  };
}

function known(stage) {
  return {
    name: stage.stage, stream: stage.stream, backlog: stage.backlog, inFlight: stage.in_flight, redelivered: stage.redelivered,
    rate: stage.rate_per_s, ageMs: stage.oldest_age_s === null ? null : stage.oldest_age_s * 1000, consumers: stage.consumers_seen, dead: stage.dead_letters,
  };
}

function seen(consumer) {
  return {
    name: consumer.name, stream: consumer.stream, backlog: consumer.backlog, inFlight: consumer.in_flight, redelivered: consumer.redelivered,
    rate: null, ageMs: null, consumers: consumer.replicas, dead: null,
  };
}
