// Prints the log of a function by invocation, from a topic that ingest wrote with --headers=standard:
//
//     java -cp 'kafka-clients.jar:jackson-databind.jar:…' Reader.java BROKER TOPIC FUNCTION
//
// It does what main.go in this folder does.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.time.Duration;
import java.util.*;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public class Reader {
    record Event(String instance, String start, long number, String name, String trace, String startTime, String endTime, String logs) {}

    static class Invocation {
        String instance, trace, begin = "", end = "";
        boolean done;
        List<String> lines = new ArrayList<>();
    }

    static final Map<List<String>, Invocation> invocations = new LinkedHashMap<>();

    static Invocation invocation(Event e) {
        return invocations.computeIfAbsent(List.of(e.instance, e.trace), k -> {
            Invocation v = new Invocation();
            v.instance = k.get(0);
            v.trace = k.get(1);
            return v;
        });
    }

    public static void main(String[] args) throws Exception {
        List<Event> events = read(args[0], args[1], args[2]);
        events.sort(Comparator.comparing(Event::start).thenComparing(Event::number));
        for (Event e : events) {
            if (e.trace.isEmpty()) continue;
            switch (e.name) {
                case "platform.start" -> invocation(e).begin = e.startTime;
                case "platform.runtimedone" -> {
                    if (!invocation(e).done) invocation(e).end = e.startTime;
                }
                case "platform.report" -> {
                    invocation(e).end = e.endTime;
                    invocation(e).done = true;
                }
            }
        }
        List<String> notCertain = new ArrayList<>();
        for (Event e : events) {
            if (!e.name.equals("function")) continue;
            String line = e.startTime + " " + e.logs;
            if (!e.trace.isEmpty()) {
                invocation(e).lines.add(line);
                continue;
            }
            // It belongs to an invocation for certain if it was written in the time of exactly one.
            List<Invocation> in = invocations.values().stream().filter(v -> v.instance.equals(e.instance) && !v.begin.isEmpty()
                && v.begin.compareTo(e.startTime) <= 0 && (v.end.isEmpty() || e.startTime.compareTo(v.end) <= 0)).collect(Collectors.toList());
            if (in.size() == 1) in.get(0).lines.add(line);
            else notCertain.add(e.instance + " ? of " + in.size() + "\n  " + line);
        }
        invocations.values().stream().filter(v -> !v.lines.isEmpty()).sorted(Comparator.comparing(v -> v.begin + " " + v.trace))
            .forEach(v -> System.out.print(v.instance + " " + v.trace + "\n  " + String.join("\n  ", v.lines) + "\n"));
        notCertain.forEach(text -> System.out.print(text + "\n"));
    }

    static List<Event> read(String broker, String topic, String function) throws Exception {
        ObjectMapper json = new ObjectMapper();
        List<Event> events = new ArrayList<>();
        Properties p = new Properties();
        p.put("bootstrap.servers", broker);
        try (Consumer<byte[], byte[]> consumer = new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> partitions = consumer.partitionsFor(topic).stream().map(i -> new TopicPartition(topic, i.partition())).toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            while (partitions.stream().anyMatch(t -> consumer.position(t) < ends.get(t))) {
                for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofSeconds(1))) {
                    Map<String, String> h = new HashMap<>();
                    for (Header header : r.headers()) h.put(header.key(), new String(header.value(), "UTF-8"));
                    if (h.containsKey("ingest-mark") || !function.equals(h.get("ingest-function"))) continue;
                    JsonNode v = json.readTree(r.value());
                    String[] seq = h.get("ingest-seq").split("-");
                    events.add(new Event(h.getOrDefault("ingest-instance", ""), seq[0], Long.parseLong(seq[1]), text(v, "name").toLowerCase(),
                        text(v, "traceId"), text(v, "startTime"), text(v, "endTime"), text(v, "logs")));
                }
            }
        }
        return events;
    }

    static String text(JsonNode v, String field) {
        return v.path(field).asText("").strip();
    }
}
