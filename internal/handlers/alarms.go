package handlers

import (
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// listAlarms answers GET /v1/cluster/alarms.
func (a *API) listAlarms(c *call) error {
	if err := c.query.Done(); err != nil {
		return err
	}
	alarms, header, err := c.backend.Alarms(c.ctx())
	if err != nil {
		return err
	}
	c.revision = header.Revision
	c.openObject()
	c.alarmsMember(alarms)
	c.closeObject()
	return nil
}

// disarm answers DELETE /v1/cluster/alarms: the alarms, or those of a member or of a kind, are ended one by one. Those that
// were are answered. What raised an alarm raises it again if it is not mended.
func (a *API) disarm(c *call) error {
	kind := c.query.Choice("alarm", "", etcdclient.AlarmKinds()...)
	member := c.memberParameter()
	if err := c.query.Done(); err != nil {
		return err
	}
	alarms, header, err := c.backend.Alarms(c.ctx())
	if err != nil {
		return c.notApplied(err)
	}
	c.revision = header.Revision
	var ended []etcdclient.Alarm
	for _, alarm := range alarms {
		if kind != "" && alarm.Kind != kind || member != nil && alarm.MemberID != *member {
			continue
		}
		if header, err = c.backend.Disarm(c.ctx(), alarm); err != nil {
			return partly(err, len(ended) > 0)
		}
		c.revision = max(c.revision, header.Revision)
		ended = append(ended, alarm)
	}
	c.openObject()
	c.alarmsMember(ended)
	c.closeObject()
	return nil
}

// partly states the outcome of a call of several steps that failed when some had been done: it was not without effect.
func partly(err error, some bool) error {
	if !some {
		return err
	}
	e := *problem.From(err)
	return e.WithOutcome(problem.Unknown)
}
