// The application beside the sidecar, and who is told of what fails.

import { Facts, Nothing, Section, Severity, State } from "./bits.js";
import { ago, bytes, duration } from "./format.js";
import { open } from "./place.js";
import { alerts, application, now } from "./store.js";

export function Application() {
  const about = application.value;
  if (!about || about.state === "off") return null;
  const latest = about.checks[0];
  const hook = about.hooks[0];
  return (
    <Section id="application" title="Application" more={<State of={about.state} />}
      note={about.wants_restart ? "the kubelet is told to restart it" : ""}>
      <div class="padded">
        <Facts rows={[
          ["check", about.check],
          ["so for", duration(about.since_s)],
          ["failures in a row", about.failures_in_a_row || ""],
          ["memory", about.memory_bytes === null ? "" : bytes(about.memory_bytes)],
          ["last check", latest && `${latest.result}, ${duration(latest.ms / 1000)}`],
          ["because", latest?.reason],
          ["recovery hook", hook && `${hook.result}, ${ago(hook.time, now.value)}`],
          ["it said", hook?.detail],
        ]} />
      </div>
    </Section>
  );
}

export function Alerts() {
  const told = alerts.value;
  if (!told?.receivers.length) return null;
  const note = told.firing.length ? `${told.firing.length} firing` : "none fires";
  return (
    <Section id="alerts" title="Alerts" note={note}>
      <ul class="alerts">
        {told.firing.map((alert) => (
          <li key={alert.group}>
            <Severity of={alert.severity} />
            <button type="button" onClick={() => open("group", alert.group)}>{alert.code}</button>
            <small>{alert.route}</small>
            <span class="why">
              {alert.silenced ? "silenced" : alert.told.length ? `told: ${alert.told.join(", ")}` : "not told yet"}
            </span>
          </li>
        ))}
      </ul>
      <div class="padded">
        <Facts rows={told.receivers.map((receiver) => [
          receiver.name,
          receiver.problem
            ? `${receiver.problem}; ${receiver.waiting} wait`
            : receiver.last_success ? `told ${ago(receiver.last_success, now.value)}` : "nothing sent yet",
        ])} />
        {!told.firing.length && <Nothing>Nothing that fails is to be told of.</Nothing>}
      </div>
    </Section>
  );
}
