package kafkatest

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ReadStoresAgain makes broker i read the files of Options.Secure again; connections that it has stay.
func (c *Cluster) ReadStoresAgain(i int, s Secure) error {
	const prefix = "listener.name.secure."
	settings := map[string]string{prefix + "ssl.keystore.location": s.KeyStore}
	if s.TrustStore != "" {
		settings[prefix+"ssl.truststore.location"] = s.TrustStore
	}
	for key, value := range settings { // one at a time: an error names the file
		if err := c.setBrokerConfig(i, key, value); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

// setBrokerConfig sets a dynamic setting of broker i.
func (c *Cluster) setBrokerConfig(i int, key, value string) error {
	cfg := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	cfg.Name, cfg.Value = key, &value
	res := kmsg.NewIncrementalAlterConfigsRequestResource()
	res.ResourceType, res.ResourceName = kmsg.ConfigResourceTypeBroker, fmt.Sprint(nodeID(i))
	res.Configs = append(res.Configs, cfg)
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources = append(req.Resources, res)

	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	return with(c.direct(), func(cl *kgo.Client) error {
		resp, err := req.RequestWith(ctx, cl)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(resp.Resources[0].ErrorCode)
	})
}
