// The fault groups, worst and newest first; each opens to all there is to know.

import { useState } from "preact/hooks";
import { Ago, Nothing, Section, Severity, State, copy } from "./bits.js";
import { FaultById } from "./fault.js";
import { count, duration, percent, rate, times } from "./format.js";
import { open, openedAs } from "./place.js";
import { GROUPS, active, found, groups, info, query, severities, shownGroups } from "./store.js";
import type { Fault, Group } from "./types.js";

const ALL = ["P0", "P1", "P2", "P3"] as const;

export function Groups() {
  const shown = shownGroups.value;
  const seen = groups.value.length;
  const some = seen < GROUPS ? "" : `the ${GROUPS} seen last: `; // There may be more.
  const note = `${some}${active.value.length} now, ${seen - active.value.length} over`;
  return (
    <Section id="faults" title="Faults" note={seen ? note : ""}
      more={<Severities />}>
      <Found records={found.value} />
      {shown.length === 0 && <Nothing>{nothing()}</Nothing>}
      <ol class="groups">
        {shown.map((group) => <Entry key={group.id} group={group} />)}
      </ol>
    </Section>
  );
}

function nothing(): string {
  if (!info.value) return "Waiting for the sidecar…";
  if (groups.value.length) return "No group matches.";
  return "Nothing has failed since this sidecar started.";
}

function Severities() {
  const toggle = (severity: string) => {
    const chosen = new Set(severities.value);
    if (!chosen.delete(severity)) chosen.add(severity);
    severities.value = chosen;
  };
  return (
    <div class="filters" role="group" aria-label="Show only">
      {ALL.map((severity) => {
        const number = active.value.filter((group) => group.severity === severity).length;
        return (
          <button type="button" key={severity} class={`severity ${severity} ${number ? "" : "none"}`}
            aria-pressed={severities.value.has(severity)} onClick={() => toggle(severity)}>
            {severity} <b>{number}</b>
          </button>
        );
      })}
    </div>
  );
}

function Entry({ group }: { group: Group }) {
  const isOpen = openedAs("group") === group.id;
  const where = [group.route, group.upstream, group.endpoint].filter(Boolean).join(" › ");
  return (
    <li class={`group ${group.state} ${isOpen ? "open" : ""}`} id={`group-${group.id}`}>
      <button type="button" class="row" aria-expanded={isOpen} data-group={group.id}
        onClick={() => open("group", isOpen ? "" : group.id)}>
        <Severity of={group.severity} />
        <span class="name">
          <b>{group.code}</b>
          <small>{where || "the sidecar itself"}{group.cause && ` · ${group.cause}`}</small>
        </span>
        <State of={group.state} />
        <span class="number" title="in the last minute">
          <b>{rate(group.rate_per_s)}/s</b>
          <small class={group.trend}>{group.trend}</small>
        </span>
        <span class="number">
          <b>{group.share_of_traffic ? percent(group.share_of_traffic) : "–"}</b>
          <small>of its route</small>
        </span>
        <span class="number">
          <b>{count(group.count)}</b>
          <small><Ago of={group.last_seen} /></small>
        </span>
      </button>
      {isOpen && <Detail group={group} />}
    </li>
  );
}

function Detail({ group }: { group: Group }) {
  // The examples of the moment when it was opened: they would else change while read.
  const [examples] = useState(group.examples);
  const [chosen, choose] = useState(openedAs("fault") || examples.at(-1) || "");
  const latest = group.examples.at(-1);
  const isOlder = latest !== undefined && !examples.includes(latest) && chosen !== latest;
  return (
    <div class="detail-box">
      <p class="fix">
        <span>What to do</span>
        {group.fix}
        <button type="button" onClick={() => void copy(`sidecar faults ${group.code}`, "Command")}
          title="Copy the command that explains it">
          sidecar faults {group.code}
        </button>
      </p>
      <p class="since">
        {group.title} · first seen <Ago of={group.first_seen} />
        {group.regressions > 0 && ` · came back ${times(group.regressions)}`}
        {group.state === "recovered" && group.recovery_s !== null && ` · recovered after ${duration(group.recovery_s)}`}
        {` · layer ${group.layer}`}
      </p>
      <div class="tabs" role="group" aria-label="Examples">
        {examples.map((id, i) => (
          <button type="button" key={id} aria-pressed={chosen === id} onClick={() => choose(id)}>
            {label(i, examples.length)}
          </button>
        ))}
        {isOlder && (
          <button type="button" aria-pressed={false} onClick={() => choose(latest)}>newest</button>
        )}
      </div>
      {chosen ? <FaultById id={chosen} /> : <Nothing>No record of it is kept.</Nothing>}
    </div>
  );
}

function label(index: number, size: number): string {
  if (size === 1) return "the only one";
  if (index === 0) return "first";
  return index === size - 1 ? "last" : `between ${index}`;
}

function Found({ records }: { records: Fault[] }) {
  const chosen = openedAs("fault");
  if (!query.value || !records.length) return null;
  return (
    <details class="found" open={Boolean(chosen) || !shownGroups.value.length}>
      <summary>{records.length === 20 ? "The last 20" : records.length} single failures match</summary>
      <ul>
        {records.map((record) => (
          <li key={record.fault_id}>
            <button type="button" class="row" aria-expanded={chosen === record.fault_id}
              onClick={() => open("fault", chosen === record.fault_id ? "" : record.fault_id)}>
              <Severity of={record.severity} />
              <b>{record.code}</b>
              <span>{record.method} {record.path_template}</span>
              <small><Ago of={record.time} /> · {record.fault_id}</small>
            </button>
            {chosen === record.fault_id && <FaultById id={chosen} />}
          </li>
        ))}
      </ul>
    </details>
  );
}
