import java.net.HttpURLConnection;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.io.ByteArrayInputStream;

/** Posts to args[0] with HttpClient and HttpURLConnection, each with its defaults, and prints the statuses. */
class Post {
    public static void main(String[] args) throws Exception {
        String big = "[{\"n\":1,\"text\":\"" + "x".repeat(300000) + "\"}]";
        HttpClient client = HttpClient.newHttpClient(); // asks for an upgrade to HTTP/2
        StringBuilder out = new StringBuilder();
        BodyPublisher[] bodies = {
            BodyPublishers.ofString("[{\"n\":1}]"),
            BodyPublishers.ofString(big),
            BodyPublishers.ofInputStream(() -> new ByteArrayInputStream("[{\"n\":1}]".getBytes())), // chunked
        };
        for (BodyPublisher body : bodies) {
            out.append(status(client, args[0], body)).append(' ');
        }
        out.append(status(client, args[0] + "nope", BodyPublishers.ofString(big))).append(' ');
        out.append(status(client, args[0], BodyPublishers.ofString("[{\"n\":1}]"))).append(' ');
        for (int i = 0; i < 2; i++) {
            HttpURLConnection c = (HttpURLConnection) URI.create(args[0]).toURL().openConnection();
            c.setRequestMethod("POST");
            c.setDoOutput(true);
            c.getOutputStream().write("[{\"n\":1}]".getBytes());
            out.append(c.getResponseCode()).append(' ');
        }
        System.out.println(out.toString().trim());
    }

    private static int status(HttpClient client, String url, BodyPublisher body) throws Exception {
        return client.send(HttpRequest.newBuilder(URI.create(url)).POST(body).build(), BodyHandlers.ofString()).statusCode();
    }
}
